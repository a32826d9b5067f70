"""Every field of the wire that holds personal data says so with (weir.v1.pii)."""
import re

import protos
from tree import finding

# A scalar with one of these words in its name, or a message of one of these types, is about a person or
# a host. Other messages are judged field by field.
WORDS = re.compile(
    r"(^|_)(person|persons|user|users|uid|sid|subject|account_name|login|employee|owner|email|mail|phone"
    r"|host|hosts|hostname|machine|device|serial|boot_id|seat|remote|remote_address|gateway|vpn|time_zone"
    r"|address|addresses|ip|ips|client|server|server_name|peer|domain_name|program|programs|path|paths|file|files|folder|directory|capture"
    r"|name|names|zone|zones|justification|note|comment|message_text|raw|captured|content|ciphertext|created_by|decided_by"
    r"|person_plus_one|audit_session|customer_keys)(_|$)")
TYPES = {"Person", "Host", "User", "Subject", "Path", "Place"}

# Fields whose names sound personal and are not, each with its reason.
NOT_PERSONAL = {
    "Origin.name": "which source speaks: utmp, a connector's id",
    "Origin.raw_digest": "a digest; what it is of stands elsewhere",
    "Service.upload_hosts": "hosts of a public service",
    "Status.Program.name": "one of our own programs",
    "Policy.name": "a policy is named by its author after a group or purpose",
    "Health.Counter.name": "the name of a counter",
    "EnrolToken.address": "the collector's own door",
    "EnrolResponse.agent_address": "the collector's own door",
    "ReplayPolicyResponse.hosts": "a number of hosts",
    "ReplayPolicyResponse.persons": "a number of persons",
    "ListUsedNamesRequest.persons": "a number of persons",
    "UsedName.persons": "a number of persons",
    "PublishPolicyResponse.hosts": "a number of hosts",
}
MARK = re.compile(r"\((?:weir\.v1\.)?pii\)\s*=\s*(\w+)")


def check(tree):
    """A name or type that is about a person or host, and no mark: the field is missed by erasure."""
    found = []
    messages = protos.read(tree)
    for message in messages.values():
        for fld in message.fields:
            full = f"{fld.message}.{fld.name}"
            held = protos.types_of(fld)
            named = [protos.resolve(messages, fld, t) for t in held]
            scalar = fld.type != "bool" and not any(named)
            personal = any(m and m.name in TYPES for m in named) or (scalar and WORDS.search(fld.name))
            mark = MARK.search(fld.options)
            if personal and not mark and full not in NOT_PERSONAL:
                found.append(finding(fld.path, fld.line, f"{full} sounds personal and has no (weir.v1.pii)"))
            if mark and mark[1] == "PII_UNSPECIFIED":
                found.append(finding(fld.path, fld.line, f"{full}: (weir.v1.pii) does not say which kind"))
    known = {f"{m.name}.{f.name}" for m in messages.values() for f in m.fields}
    if messages:
        for full in sorted(set(NOT_PERSONAL) - known):
            if tree.exists("tests/tidy/checks/personal.py"):
                found.append(finding("tests/tidy/checks/personal.py", 1, f"NOT_PERSONAL names {full}, which is gone"))
    return found
