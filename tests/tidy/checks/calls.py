"""Calls that have no place here, with what to use instead."""
import re

from tree import code_only, finding, line_of

PRODUCT = ("core/", "platform/", "agent/", "collector/", "proto/")
OUR_CPP = PRODUCT + ("bench/", "tests/")  # a test may start a shell and trust its own arguments

# (pattern of a call or use, folders where it is banned, why)
BANNED = [
    (r"\b(?:std::)?system\s*\(", PRODUCT, "a shell is started: run a program by its path and arguments"),
    (r"\bpopen\s*\(", PRODUCT, "a shell is started: run a program by its path and arguments"),
    (r"\bexec(?:lp|vp|vpe)\s*\(|\bposix_spawnp\s*\(", ("platform/", "agent/guard/", "agent/engine/", "collector/"),
     "searches PATH: name the program by its whole path"),
    (r"\b(?:std::)?(?:strcpy|strcat|sprintf|vsprintf|gets|stpcpy)\s*\(", OUR_CPP, "writes without a bound: use fmt or a span"),
    (r"\b(?:std::)?(?:strtok|asctime|ctime|gmtime|localtime|tmpnam|mktemp|tempnam)\s*\(", OUR_CPP,
     "keeps hidden state or races"),
    (r"\b(?:std::)?(?:atoi|atol|atoll|atof)\s*\(", PRODUCT, "hides errors: use std::from_chars"),
    (r"\b(?:std::)?s?rand\s*\(", OUR_CPP, "randomness is an argument"),
    (r"\balloca\s*\(", OUR_CPP, "an unbounded stack"),
    (r"\bsetjmp\s*\(|\blongjmp\s*\(", OUR_CPP, "skips destructors"),
    (r"\busing\s+namespace\s+std\s*;", OUR_CPP, "name what you use"),
    (r"(?:_clock|Clock)::now\s*\(|\bclock_gettime\s*\(|\bgettimeofday\s*\(|(?<![\w.>:])(?:std::)?time\s*\(\s*(?:nullptr|NULL|0|&)", ("core/",),
     "core/ reads no clock: time is in the event"),
    (r"\bgetenv\s*\(", ("core/", "platform/", "agent/guard/", "agent/engine/"), "the environment is an argument"),
    (r"\bcatch\s*\(\s*\.\.\.\s*\)\s*\{\s*\}", OUR_CPP, "swallows a failure"),
    (r"\bassert\s*\(", PRODUCT, "goes in a release: use WEIR_CHECK"),
    (r"\bthread_local\b|\bstd::call_once\b", ("core/",), "the line's state belongs to one thread and one object"),
]


def check(tree):
    """Shells, unbounded copies, hidden state, clocks in core/."""
    found = []
    rules = [(re.compile(pattern), places, why) for pattern, places, why in BANNED]
    for path in tree.having(".h", ".cpp", ".c"):
        code = code_only(tree.text(path))
        for pattern, places, why in rules:
            if not path.startswith(places):
                continue
            for match in pattern.finditer(code):
                found.append(finding(path, line_of(code, match.start()), f"{match.group(0).strip()}: {why}"))
    return found
