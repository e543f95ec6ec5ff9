"""Trust: evidence is weighed apart from reading, and no header is proof."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from attrs import fields as attrs_fields

from mailarchive import journal
from mailarchive.journal.trust import Action, Evidence, Level, Policy, Sign, Strength, judge
from mailarchive.testing import messages, reports

GUID = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
REPORT = reports.report()
BORDER = (
    b"Received: from AM0PR01.outbound.protection.outlook.com (192.0.2.7)\r\n"
    b" by mx.example.com with ESMTPS; Mon, 5 May 2025 08:00:03 +0000\r\n"
)
RESULTS = (
    b"Authentication-Results: mx.example.com; spf=pass\r\n"
    b" smtp.mailfrom=example.onmicrosoft.com; dmarc=fail\r\n"
)
STAMPS = RESULTS + BORDER
DELIVERED = b"Received: from mx.example.com by store.example.com with LMTP; 5 May 2025\r\n"
FOREIGN = b"Received: from a by relay.example.net; Mon, 5 May 2025 08:00:03 +0000\r\n"
POLICY = Policy(
    return_paths={"journalndr@example.onmicrosoft.com"},
    authserv_id="mx.example.com",
    own_hosts={"mx.example.com"},
    tenants={"example.onmicrosoft.com", GUID},
)


def stamped(stamps: bytes = STAMPS, raw: bytes = REPORT) -> journal.JournalReport:
    """Return a report that was received with these lines on top, below its return path."""
    line, _, rest = raw.partition(b"\r\n")
    return journal.decode(line + b"\r\n" + stamps + rest)


def signs(evidence: tuple[Evidence, ...]) -> dict[Sign, bool | None]:
    """Return what each sign says."""
    return {each.sign: each.agrees for each in evidence}


def test_without_a_policy_nothing_is_proven_and_nothing_refused() -> None:
    """A report that claims everything is unproven: whoever mails here can write all of it."""
    verdict = judge(stamped(), Policy())

    assert verdict.level is Level.UNPROVEN
    assert verdict.action is Action.ACCEPT


def test_a_vouched_channel_is_trusted() -> None:
    """An authenticated or closed channel is the strongest sign."""
    verdict = judge(journal.decode(REPORT), Policy(trusted_channel=True))

    assert verdict.level is Level.TRUSTED
    assert verdict.evidence[0] == Evidence(Sign.CHANNEL, Strength.STRONG, agrees=True)


@pytest.mark.parametrize(("marked", "level"), [(True, Level.TRUSTED), (False, Level.CONTRADICTED)])
def test_exchanges_own_verdict_is_strong_either_way(marked: bool, level: Level) -> None:
    """The store gives the property only to reports of a trusted sender."""
    assert judge(journal.decode(REPORT), Policy(), marked_by_store=marked).level is level


def test_our_own_servers_stamps_make_it_plausible() -> None:
    """The configured return path with SPF pass; DMARC fails by design and is only noted."""
    verdict = judge(stamped(), POLICY)

    assert verdict.level is Level.PLAUSIBLE
    assert verdict.action is Action.ACCEPT
    found = signs(verdict.evidence)
    assert found[Sign.RETURN_PATH] is True
    assert found[Sign.HOST] is True
    assert found[Sign.DMARC] is None


@pytest.mark.parametrize(
    "stamps",
    [
        FOREIGN + STAMPS,
        STAMPS.replace(b"mx.example.com", b"mx.example.net"),
        STAMPS.replace(b"spf=pass", b"spf=softfail"),
        STAMPS.replace(b"Authentication-Results: mx.example.com;", b"Authentication-Results:"),
        STAMPS.replace(b"Results: mx.example.com;", b"Results: evil.example; x=mx.example.com;"),
        STAMPS.replace(b"spf=pass", b'dkim=pass header.d="; spf=pass"; spf=fail'),
        STAMPS.replace(b"spf=pass", b'dkim=pass header.d="\\"; spf=pass"; spf=fail'),
        STAMPS.replace(b"spf=pass", b"dkim=pass (; spf=pass); spf=fail"),
        STAMPS.replace(b"spf=pass", b"dkim=pass (a; spf=pass (b)); spf=fail"),
        STAMPS.replace(b"spf=pass", b'dkim=pass (a" (b) ; spf=pass "); spf=fail'),
        STAMPS.replace(b"spf=pass", b"dkim=pass (a \\) ; spf=pass); spf=fail"),
        STAMPS.replace(b"spf=pass", b"spf=fail") + RESULTS,
        STAMPS.replace(b"spf=pass", b"spf=pass smtp.helo=evil.example; spf=fail"),
        STAMPS.replace(b"smtp.mailfrom", b"smtp.helo"),
        RESULTS + STAMPS.replace(b"spf=pass", b"spf=temperror"),
        BORDER + RESULTS,
        BORDER + RESULTS + BORDER,
        BORDER + RESULTS + DELIVERED,
        RESULTS,
        b"",
    ],
)
def test_stamps_that_are_not_ours_prove_nothing(stamps: bytes) -> None:
    """Below the line by which it came in, of another server, not passed: weak at most."""
    assert judge(stamped(stamps), POLICY).level is Level.UNPROVEN


def test_whoever_names_our_server_writes_no_stamp_of_ours() -> None:
    """Our lines are counted from the top: every line below can say what it likes."""
    for stamps in (FOREIGN + STAMPS, BORDER.replace(b".outlook.com", b".example") + STAMPS):
        found = signs(judge(stamped(stamps), POLICY).evidence)

        assert Sign.HOST not in found
        assert Sign.SPF not in found
        assert found[Sign.RETURN_PATH] is not False


@pytest.mark.parametrize(
    ("stamps", "policy", "level"),
    [
        (DELIVERED + STAMPS, {"hops": 2}, Level.PLAUSIBLE),
        (RESULTS + DELIVERED + BORDER, {"hops": 2}, Level.PLAUSIBLE),
        (DELIVERED + STAMPS, {}, Level.UNPROVEN),
        (STAMPS, {"hops": 2}, Level.UNPROVEN),
        (DELIVERED + BORDER + RESULTS, {"hops": 2}, Level.UNPROVEN),
        (DELIVERED + BORDER + RESULTS, {"hops": 2, "strips_results": True}, Level.PLAUSIBLE),
        (BORDER + RESULTS, {"strips_results": True}, Level.PLAUSIBLE),
        (BORDER + RESULTS + FOREIGN, {"strips_results": True}, Level.PLAUSIBLE),
        (BORDER + FOREIGN + RESULTS, {"strips_results": True}, Level.UNPROVEN),
        (STAMPS, {"own_hosts": ()}, Level.PLAUSIBLE),
        (
            STAMPS,
            {"own_hosts": {"MX.example.COM"}, "authserv_id": "MX.example.COM"},
            Level.PLAUSIBLE,
        ),
        (STAMPS, {"own_hosts": {"other.example.com"}}, Level.UNPROVEN),
        (STAMPS, {"authserv_id": None}, Level.UNPROVEN),
        (STAMPS.replace(b"com; spf=", b"com 1; spf/1 = "), {}, Level.PLAUSIBLE),
        (STAMPS.replace(b"com; ", b"com; spf=none smtp.helo=a.b; "), {}, Level.PLAUSIBLE),
        (STAMPS.replace(b"mx.example.com; spf", b"; spf"), {"authserv_id": ""}, Level.UNPROVEN),
    ],
)
def test_several_hops_are_as_many_as_the_policy_says(
    stamps: bytes, policy: dict[str, Any], level: Level
) -> None:
    """Fewer or other ones, and the trace is not what was set up: nothing of it counts."""
    hosts = {"mx.example.com", "store.example.com"}

    assert judge(stamped(stamps), evolve(POLICY, **{"own_hosts": hosts, **policy})).level is level


@pytest.mark.parametrize("stamps", [STAMPS, b""])
def test_a_missing_return_path_says_neither(stamps: bytes) -> None:
    """It was looked for, and is in the evidence as nothing found."""
    raw = stamps + REPORT.partition(b"\r\n")[2]
    verdict = judge(journal.decode(raw), POLICY)

    assert Evidence(Sign.RETURN_PATH, Strength.NOTED, agrees=None) in verdict.evidence
    assert verdict.level is Level.UNPROVEN


def test_a_return_path_that_came_in_is_none() -> None:
    """Only the one above our own line is of the server that delivered it."""
    raw = STAMPS + REPORT
    assert REPORT.startswith(b"Return-Path: <journalndr@")

    assert judge(journal.decode(raw), POLICY).level is Level.UNPROVEN


def test_the_decoder_claims_nothing_about_who_wrote_a_report() -> None:
    """The same bytes with any stamps say the same, and there is no word for belief."""
    fields = {field.name for field in attrs_fields(journal.JournalReport)}
    reports_ = [stamped(), stamped(FOREIGN), journal.decode(REPORT)]

    assert len({repr(report.to_dict()) for report in reports_}) == 1
    assert fields.isdisjoint({"trust", "trusted", "verdict", "authentic", "level"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<journalndr@example.onmicrosoft.com>", b"<mallory@example.net>"),
        (b"X-OriginatorOrg: example.", b"X-OriginatorOrg: evil."),
        (b"41109e@example.onmicrosoft.com", b"41109e@evil.onmicrosoft.com"),
        (b"X-OriginatorOrg:", f"X-LD-Processed: {OTHER},ExtAddr\r\nX-OriginatorOrg:".encode()),
        (
            b"X-OriginatorOrg:",
            f"X-MS-Exchange-CrossTenant-Id: {OTHER}\r\nX-OriginatorOrg:".encode(),
        ),
    ],
)
@pytest.mark.parametrize("action", list(Action))
def test_a_mismatch_is_a_reason_to_quarantine(old: bytes, new: bytes, action: Action) -> None:
    """A wrong return path or tenant contradicts, whatever else agrees; the policy acts."""
    raw = REPORT.replace(old, new)
    policy = evolve(POLICY, trusted_channel=True, on_mismatch=action)
    verdict = judge(stamped(raw=raw), policy)

    assert verdict.level is Level.CONTRADICTED
    assert verdict.action is action


@pytest.mark.parametrize(("guid", "agrees"), [(GUID, True), (OTHER, False)])
def test_the_originals_tenant_is_a_hint(guid: str, agrees: bool) -> None:
    """Exchange's header firewall protects it on entry; a match is still no proof."""
    original = messages.message(headers=[("X-MS-Exchange-Organization-Id", guid)])
    for defects in ((), ("rfc822_cte",)):
        report = journal.decode(reports.report(original, defects=defects))
        verdict = judge(report, Policy(tenants={GUID}))

        assert (verdict.level is Level.CONTRADICTED) == (not agrees)
        assert verdict.level is not Level.TRUSTED


@pytest.mark.parametrize("defect", ["sender_mismatch", "message_id_mismatch"])
def test_an_envelope_that_disagrees_needs_a_trusted_channel(defect: str) -> None:
    """Untrusted and contradicting its original: quarantine; otherwise it is Exchange's affair."""
    report = journal.decode(reports.report(defects=[defect]))

    assert judge(report, Policy()).action is Action.QUARANTINE
    assert judge(report, Policy(trusted_channel=True)).level is Level.TRUSTED


def test_an_unproven_report_is_what_the_policy_says() -> None:
    """Who wants proof says so."""
    policy = Policy(on_unproven=Action.QUARANTINE)

    assert judge(journal.decode(REPORT), policy).action is Action.QUARANTINE


def test_a_null_return_path_can_be_expected() -> None:
    """Where no `JournalingReportNdrTo` is set, reports come from `<>`."""
    raw = REPORT.replace(b"<journalndr@example.onmicrosoft.com>", b"<>")

    assert judge(stamped(raw=raw), evolve(POLICY, return_paths={"<>"})).level is Level.PLAUSIBLE
    assert judge(stamped(raw=raw), POLICY).level is Level.CONTRADICTED


def test_no_repr_shows_an_address() -> None:
    """Verdict and policy end up in logs."""
    assert "journalndr" not in repr(POLICY)
    assert "@" not in repr(judge(stamped(), POLICY))
