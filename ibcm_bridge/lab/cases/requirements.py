"""A short text for each requirement id. docs/requirements.md has the details."""

from __future__ import annotations

REQUIREMENTS = {
    "BRIDGE-TERMINATE": (
        "The proxy terminates the client's TLS connection, with authentication, and opens a "
        "new, authenticated TLS connection to the Internet-based site system."
    ),
    "BRIDGE-AUTH-COMPUTER": (
        "Client computers are authenticated by computer authentication (a computer certificate)."
    ),
    "BRIDGE-AUTH-USER": (
        "Legacy mobile device clients are authenticated by user authentication (a user "
        "certificate)."
    ),
    "BRIDGE-INSPECT": (
        "Packets from the Internet are inspected for malicious content before they are "
        "forwarded to the internal network."
    ),
    "BRIDGE-IDENTITY": (
        "The client's identity (the client GUID) travels inside the payload, so that the "
        "management point does not take the proxy for the client. The payload must arrive "
        "byte for byte."
    ),
    "BRIDGE-HTTPS-ONLY": (
        "Bridging from HTTP to HTTPS, or from HTTPS to HTTP, is not supported and is "
        "refused: in configuration and at run time."
    ),
    "BRIDGE-NOT-ENROLLED": (
        "Mobile devices enrolled by Configuration Manager do not support SSL bridging."
    ),
    "TUNNEL-PASS": ("TLS from the Internet is forwarded to the site system without termination."),
    "TUNNEL-BLIND": (
        "Tunneling is less secure: the content cannot be inspected. The product states this "
        "wherever it tunnels."
    ),
    "TUNNEL-NO-CERT": ("The proxy needs no certificate for a tunnel."),
    "TUNNEL-ENROLLED": (
        "A tunnel is the only way to publish the site system that enrolled mobile devices use."
    ),
    "HTTP-1.1": ("HTTP/1.1."),
    "HTTP-MULTIPART": (
        "Content types of multipart MIME attachments: multipart/mixed and application/octet-stream."
    ),
    "VERB-MP": ("Management point: HEAD, CCM_POST, BITS_POST, GET, PROPFIND."),
    "VERB-DP": ("Distribution point: HEAD, GET, PROPFIND."),
    "VERB-FSP": ("Fallback status point: POST."),
    "VERB-APPCATALOG": ("Application catalog website point: POST, GET."),
    "HEADER-MP": (
        "Management point: Range, CCMClientID, CCMClientIDSignature, CCMClientTimestamp, "
        "CCMClientTimestampsSignature. (Microsoft's last spelling is a typo; protocol.md "
        "§5.)"
    ),
    "HEADER-DP": ("Distribution point: Range."),
    "SUP-WSUS": (
        "Software update point: as in the WSUS documentation (Appendix D, security settings)."
    ),
    "ROLE-PRIMARY": ("Only primary sites support clients on the Internet; secondary sites do not."),
    "USER-WINDOWS-AUTH": (
        "User policy is available only if the Internet management point can authenticate the "
        "user by Windows authentication: Kerberos, and NTLM automatically when Kerberos "
        "fails. Otherwise only computer policy. Two client settings must be on: user policy "
        "polling, and user policy requests from Internet clients. The application catalog "
        "website point needs Windows authentication too."
    ),
    "CLIENT-MODE": (
        "A client is Internet-only, or intranet-and-Internet: it tries an intranet "
        "management point first and falls back to an Internet one, and switches automatically "
        "when the network changes. The mode is set at installation. Workgroup computers must be "
        "Internet-only, mobile devices always are; a client of an Internet-enabled "
        "management point becomes Internet-capable."
    ),
    "CLIENT-CONNECTION": (
        "Client computers can reach the Internet through a web proxy; mobile devices need a "
        "direct connection."
    ),
    "CLIENT-RESUME": (
        "A download that starts on the Internet resumes on the intranet, and the reverse."
    ),
    "CLIENT-PICK": (
        "The client selects one of the Internet site systems at random, regardless of "
        "bandwidth or location (no roaming)."
    ),
    "CLIENT-UPDATES": (
        "With an Internet software update point the client always scans against it; it then "
        "downloads from Microsoft Update first and from an Internet distribution point only "
        "when that fails. A client that is not configured for the Internet never tries Microsoft "
        "Update."
    ),
    "NO-CLIENT-DEPLOYMENT": (
        "Client push and software-update-based client deployment are not supported."
    ),
    "NO-SITE-ASSIGNMENT": ("Automatic site assignment is not supported."),
    "NO-WAKE-ON-LAN": ("Wake-on-LAN is not supported."),
    "NO-OSD": (
        "Operating system deployment is not supported. Task sequences that deploy no operating "
        "system are allowed."
    ),
    "NO-REMOTE-CONTROL": ("Remote control is not supported."),
    "NO-USER-DEPLOYMENT": (
        "Software deployment to users is not supported, unless USER-WINDOWS-AUTH is met."
    ),
    "PKI-BOTH-ENDS": (
        "Clients managed on the Internet and the Internet site systems all have PKI "
        "certificates, checked by an authority independent of both. (protocol.md §9 has "
        "EKUs, names and CRL rules.)"
    ),
    "SITE-DOMAIN": (
        "Internet site systems are in an Active Directory domain; no trust with the site "
        "server's forest is needed."
    ),
    "DNS-INTERNET-FQDN": (
        "Each Internet site system's Internet FQDN is in public DNS; the firewalls and "
        "proxies in between allow its traffic."
    ),
}
