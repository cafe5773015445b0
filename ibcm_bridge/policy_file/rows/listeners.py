"""Settings of a listen address."""

from __future__ import annotations

from pydantic import Field

from ibcm_bridge.policy_file.rows.values import NetworkText, Row, optional


class ProxyProtocolRow(Row, examples=[{"from": ["10.0.0.0/24"]}]):
    """The PROXY header, in which a load balancer names the client."""

    from_: list[NetworkText] = Field(
        alias="from",
        min_length=1,
        description="networks of the load balancers; their connections must begin with the header",
    )


class ListenerRow(Row, examples=[{"proxy_protocol": {"from": ["10.0.0.0/24"]}}]):
    """A listen address."""

    proxy_protocol: ProxyProtocolRow | None = optional(
        None, "accept the PROXY header of load balancers; disabled if omitted"
    )
