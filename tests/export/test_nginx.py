from __future__ import annotations

from pathlib import Path

from cryptography import x509

from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.export.writing import Place

from .conftest import Load

PLACE = Place("bridge.yaml", "0123456789abcdef", Path("/files"))


def nginx(load: Load, *replacements: tuple[str, str]) -> Export:
    return PROXIES["nginx"].export(load(*replacements), PLACE)


def test_the_authorities_and_crls_are_in_one_file_each(load: Load) -> None:
    files = {path.name: content for path, content in nginx(load).files.items()}
    assert sorted(files) == ["anchors-1.pem", "authorities-1.pem", "crls-1.pem"]
    assert len(x509.load_pem_x509_certificates(files["authorities-1.pem"])) == 2
    assert files["crls-1.pem"].count(b"BEGIN X509 CRL") == 2


def test_an_unlisted_field_is_not_forwarded(load: Load) -> None:
    text = nginx(load).text
    roles = text.count("proxy_pass https://") + text.count("proxy_pass http://")
    assert text.count("proxy_pass_request_headers off;") == roles
    assert "proxy_set_header ccmclientid $http_ccmclientid;" in text
    assert "authorization" not in text.lower().partition("\n\n")[2]


def test_the_policy_s_own_files_are_named(load: Load, demo_folder: Path) -> None:
    text = nginx(load).text
    assert f"ssl_certificate {demo_folder}/pki/bridge-server.pem;" in text
    assert f"proxy_ssl_certificate_key {demo_folder}/pki/bridge-client.key;" in text


def test_clients_without_a_server_name_are_refused_unless_the_policy_publishes_them(
    load: Load,
) -> None:
    default = "listen unix:/files/listener-1.sock ssl default_server;"
    refused = nginx(load).text
    assert f"{default}\n        server_name _;\n        ssl_reject_handshake on;" in refused
    name = "  - name: bridge.internet.example\n    mode: bridge\n    listen: 127.0.0.1:8443\n"
    served = nginx(load, (name, f"{name}    without_sni: true\n")).text
    assert f"{default}\n        server_name bridge.internet.example;" in served
    assert 'if ($ssl_server_name !~* "^(?:bridge\\\\.internet\\\\.example)?$")' in served


def test_only_balancers_connect_if_there_are_any(load: Load) -> None:
    listeners = (
        'listeners:\n  "127.0.0.1:8531":\n    proxy_protocol: {from: [10.0.0.0/8]}\n'
        "\npublications:\n"
    )
    text = nginx(load, ("publications:\n", listeners)).text
    assert "listen 127.0.0.1:8531 ssl proxy_protocol;\n        allow 10.0.0.0/8;" in text
    assert "deny all;" in text


def test_a_session_is_resumed_only_if_the_policy_allows_it(load: Load) -> None:
    before, after = "    clients:                         # accepted", "resumption: allow"
    assert "ssl_session_tickets off;" in nginx(load).text
    text = nginx(load, (before, f"    clients:\n      {after}\n      # accepted")).text
    bridged = text.partition("# bridge.internet.example, for clients")[2].partition("location /")[0]
    assert "ssl_session_tickets" not in bridged
