"""Each requirement in a sentence or two, for who meets its id; docs/requirements.md has more."""

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
    "TUNNEL-PASS": ("TLS from the Internet is passed to the site system without termination."),
    "TUNNEL-BLIND": (
        "It is the less secure option: what is inside cannot be inspected. The product says "
        "so wherever it tunnels."
    ),
    "TUNNEL-NO-CERT": ("The proxy needs no certificate for it."),
    "TUNNEL-ENROLLED": (
        "It is the only way to publish the site system that enrolled mobile devices use."
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
        "CCMClientTimestampsSignature. (The page's last spelling is a slip; protocol.md "
        "§5.)"
    ),
    "HEADER-DP": ("Distribution point: Range."),
    "SUP-WSUS": (
        "Software update point: as the WSUS documentation says (Appendix D, security settings)."
    ),
    "ROLE-PRIMARY": ("Only primary sites take clients from the Internet; secondary sites do not."),
    "USER-WINDOWS-AUTH": (
        "User policy is given only where the Internet management point can authenticate the "
        "user by Windows authentication: Kerberos, and NTLM automatically when Kerberos "
        "fails. Otherwise only computer policy. Two client settings must be on: user policy "
        "polling, and user policy requests from Internet clients. The application catalog "
        "website point needs Windows authentication too."
    ),
    "CLIENT-MODE": (
        "A client is Internet-only, or intranet-and-Internet: it looks for an intranet "
        "management point first and falls back to an Internet one, switching by itself when "
        "the network changes. Chosen at installation. Workgroup computers must be "
        "Internet-only, mobile devices always are; a client of an Internet-enabled "
        "management point becomes Internet-capable."
    ),
    "CLIENT-CONNECTION": (
        "Client computers may reach the Internet through a web proxy; mobile devices need a "
        "direct connection."
    ),
    "CLIENT-RESUME": ("A download begun on the Internet resumes on the intranet, and the reverse."),
    "CLIENT-PICK": (
        "The client picks one of the Internet site systems at random, whatever the "
        "bandwidth or location (no roaming)."
    ),
    "CLIENT-UPDATES": (
        "With an Internet software update point the client always scans against it; it then "
        "downloads from Microsoft Update first and from an Internet distribution point only "
        "when that fails. A client not set up for the Internet never tries Microsoft "
        "Update."
    ),
    "NO-CLIENT-DEPLOYMENT": ("client push and software-update-based client deployment"),
    "NO-SITE-ASSIGNMENT": ("automatic site assignment"),
    "NO-WAKE-ON-LAN": ("Wake-on-LAN"),
    "NO-OSD": (
        "operating system deployment (task sequences that deploy no operating system are allowed)"
    ),
    "NO-REMOTE-CONTROL": ("remote control"),
    "NO-USER-DEPLOYMENT": ("software deployment to users, unless USER-WINDOWS-AUTH is met"),
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
        "proxies between let its traffic pass."
    ),
}
