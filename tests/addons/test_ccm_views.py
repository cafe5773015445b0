"""mitmproxy shows ConfigMgr messages with the view, without a bridge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mitmproxy import addonmanager, contentviews, http, options
from mitmproxy.addons import default_addons
from mitmproxy.contentviews import Metadata
from mitmproxy.io import FlowWriter
from mitmproxy.test import taddons, tflow

from ibcm_bridge.addons import ccm_views
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies

TYPE = ccm.CONTENT_TYPE
POLICY = (
    '<Policy PolicyID="{A}"><property name="NetworkAccessPassword"><value><![CDATA[hunter2]]>'
    "</value></property></Policy>"
)


def exchange(
    method: str, path: str, sent: bytes, response: bytes, response_type: str, status: int = 200
) -> http.HTTPFlow:
    flow = tflow.tflow()
    flow.request = http.Request.make(method, f"https://mp.example{path}", sent)
    flow.request.headers["Content-Type"] = TYPE
    flow.response = http.Response.make(status, response, {"Content-Type": response_type})
    return flow


def message_flow(endpoint: str, xml: str) -> http.HTTPFlow:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    sent = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid="x", key=key)
    return exchange("CCM_POST", "/ccm_system/request", sent, MessageReplies().reply(sent), TYPE)


def policy() -> http.HTTPFlow:
    return exchange("GET", "/SMS_MP/.sms_pol?{A}.1_00", b"", POLICY.encode("utf-16"), "text/xml")


@pytest.fixture
def loaded() -> Iterator[taddons.context]:
    with taddons.context() as context:
        addon = ccm_views.CcmViews()
        # The context's own loading would not call `done` of the addon.
        context.master.addons.add(addon)
        yield context
        if context.master.addons.get("ccmviews"):
            context.master.addons.remove(addon)
    assert "configmgr" not in contentviews.registry


def shown(message: http.Message | None, flow: http.HTTPFlow) -> contentviews.ContentviewResult:
    assert message is not None
    return contentviews.prettify_message(message, flow)


def test_a_message_its_reply_and_a_policy_are_shown_by_the_view(loaded: taddons.context) -> None:
    flow = message_flow("MP_PolicyManager", documents.policy_request("x"))
    request, reply = shown(flow.request, flow), shown(flow.response, flow)
    assert {request.view_name, reply.view_name} == {"ConfigMgr"}
    assert request.text.startswith("CCM_POST for MP_PolicyManager\n")
    assert "\n  PolicyID  " in reply.text
    assert "PayloadSignature    [256 bytes]" in request.text
    assert shown(policy().response, policy()).text.startswith("Policy\n1 value is not shown, ")


def test_an_empty_reply_is_explained_and_a_refusal_left_unchanged(loaded: taddons.context) -> None:
    flow = exchange("CCM_POST", "/", b"", b"", TYPE)
    assert shown(flow.response, flow).text.startswith("Empty reply")
    flow = exchange("CCM_POST", "/", b"", b"refused", "text/plain", 403)
    assert shown(flow.response, flow).view_name == "Raw"


def test_secrets_are_shown_if_the_option_is_set(loaded: taddons.context) -> None:
    assert "hunter2" not in shown(policy().response, policy()).text
    loaded.options.update(ccm_secrets=True)
    assert "hunter2" in shown(policy().response, policy()).text


def test_the_view_is_removed_with_the_addon(loaded: taddons.context) -> None:
    assert "configmgr" in contentviews.registry
    loaded.master.addons.remove(loaded.master.addons.get("ccmviews"))
    assert "configmgr" not in contentviews.registry
    assert shown(policy().response, policy()).view_name == "XML/HTML"


def test_a_view_that_replaced_it_stays(loaded: taddons.context) -> None:
    other = ccm_views.ConfigMgrView()
    contentviews.add(other)
    loaded.master.addons.remove(loaded.master.addons.get("ccmviews"))
    assert contentviews.registry["configmgr"] is other
    del contentviews.registry._by_name["configmgr"]


def test_a_defect_of_the_view_does_not_show_the_message(
    loaded: taddons.context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # mitmproxy falls back to its raw view after a failed one.
    monkeypatch.setattr(ccm_views, "render", lambda *_, **__: 1 / 0)
    result = shown(policy().response, policy())
    assert result.view_name == "ConfigMgr"
    assert "ZeroDivisionError" in result.text
    assert "hunter2" not in result.text


def test_the_view_may_be_selected_for_unknown_bytes(
    loaded: taddons.context,
) -> None:
    view = ccm_views.ConfigMgrView()
    assert view.prettify(b"\xff", Metadata()).startswith("Not a ConfigMgr message")
    assert view.render_priority(b"\xff", Metadata()) < 0


def test_a_large_view_is_not_coloured(loaded: taddons.context) -> None:
    # mitmproxy highlights XML in quadratic time: 30 s for 256 KB.
    assert shown(policy().response, policy()).syntax_highlight == "none"


def test_neither_the_addon_nor_the_view_has_a_name_that_mitmproxy_uses() -> None:
    names = {addonmanager._get_name(addon) for addon in default_addons()}
    assert "scriptloader" in names
    assert addonmanager._get_name(ccm_views.CcmViews()) not in names
    assert ccm_views.ConfigMgrView().name.lower() not in contentviews.registry
    assert ccm_views.OPTION not in options.Options()


@pytest.mark.parametrize("detail", ["3", "4"])
def test_mitmdump_shows_saved_messages_and_no_secret(tmp_path: Path, detail: str) -> None:
    saved = tmp_path / "saved.flows"
    with saved.open("wb") as file:
        writer = FlowWriter(file)
        for flow in (message_flow("MP_HinvEndpoint", documents.inventory_report("x", 2)), policy()):
            writer.add(flow)
    script = ccm_views.__file__
    # Like the console script, which may not be on the path.
    run = "from mitmproxy.tools.main import mitmdump; mitmdump()"
    command = [sys.executable, "-c", run, "-nr", str(saved), "-s", script, "--flow-detail", detail]
    command += ["--set", f"confdir={tmp_path}"]
    done = subprocess.run(
        command,
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONUTF8": "1"},
        cwd=tmp_path,
    )
    output = done.stdout.decode() + done.stderr.decode()
    assert "CCM_POST for MP_HinvEndpoint" in output
    assert "<ProductName>Lab Product " in output
    assert "NoReply: the message was accepted" in output
    assert 'name="NetworkAccessPassword"' in output
    assert "[not shown]" in output
    assert "hunter2" not in output
    assert "rror" not in output
