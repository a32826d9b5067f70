"""Nothing on the wire can make a host run, read or open something: what goes down carries no code, no
shell line and no path, and its opaque bytes are known one by one."""
import re

import protos
from tree import finding

# Never, in no direction: who needs such a field has misunderstood what the wire is for.
NEVER = re.compile(r"(^|_)(script|scripts|shell|bash|cmdline|command_line|exec|executable|execute|eval|bytecode|lua|wasm"
                   r"|argv|interpreter|macro|plugin|dll|elf|payload_url|download_url|hook)(_|$)")
# Not in what a host obeys.
NOT_DOWN = re.compile(r"(^|_)(code|args|arguments|run|launch|program|binary|path|paths|file|files|folder|url|uri|env"
                      r"|environment|regex|expression|expr|query|command|commands|template|libr\w+|module)(_|$)")

# What reaches a host: the roots, and all that they hold.
DOWN = ("ConnectResponse", "PolicyEnvelope", "Policy", "CommandBody", "EnrolResponse", "RenewResponse")

# Fields that sound so and are not, each with its reason.
KNOWN = {
    "Reason.code": "a key of the renderer's own table; an unknown one is shown",
    "Reason.args": "values that a sentence shows",
    "ConnectResponse.command": "a message of a closed set of verbs",
    "Index.file": "the name of an exact-match index below the policy's folder; only ever read as an index",
    "Path.raw": "shown or compared, never opened",
}
# Bytes are where code could hide: each field says what its bytes are checked as.
KNOWN_BYTES = {
    "SignedPolicy.envelope": "PolicyEnvelope",
    "PolicyEnvelope.policy": "Policy",
    "PolicySignature.key_id": "8 bytes",
    "PolicySignature.signature": "64 bytes",
    "PolicyKey.key_id": "8 bytes",
    "PolicyKey.public_key": "32 bytes",
    "Command.body": "CommandBody",
    "SignedTrust.trust": "TrustSet",
    "Resolver.address": "16 bytes",
    "Network.gateways": "16 bytes each",
    "Prefix.address": "16 bytes",
    "Certificate.chain": "DER certificates",
    "EnrolResponse.agent_ca": "DER certificates",
    "Path.raw": "shown or compared, never opened",
}


def reachable(messages):
    todo, seen = [m for m in DOWN if m in messages], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for fld in messages[name].fields:
            for held in protos.types_of(fld):
                target = protos.resolve(messages, fld, held)
                if target:
                    todo.append(target.name)
    return seen


def check(tree):
    """No field for code in any message; in what a host obeys, no path and no unknown bytes either."""
    found = []
    messages = protos.read(tree)
    down = reachable(messages)
    for message in messages.values():
        for fld in message.fields:
            full = f"{fld.message}.{fld.name}"
            if NEVER.search(fld.name):
                found.append(finding(fld.path, fld.line, f"{full} could carry something to run"))
            if fld.message not in down or full in KNOWN:
                continue
            if NOT_DOWN.search(fld.name):
                found.append(finding(fld.path, fld.line, f"{full} reaches hosts and could name something to run or open"))
            if "bytes" in protos.types_of(fld) and full not in KNOWN_BYTES:
                found.append(finding(fld.path, fld.line, f"{full}: opaque bytes reach hosts; say in KNOWN_BYTES what they are"))
            if "google.protobuf.Any" in fld.type or "google.protobuf.Struct" in fld.type:
                found.append(finding(fld.path, fld.line, f"{full} can hold anything"))
    return found
