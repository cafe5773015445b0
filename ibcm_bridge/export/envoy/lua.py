"""The Lua filter of the Envoy export: header fields and bodies, by role.

Source: envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/lua_filter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ibcm_bridge.export.model import ExportedRole

_CODE = """\
-- [HTTP-1.1] [HTTP-MULTIPART] Header fields and bodies, by role.
local own = {[":authority"] = true, [":method"] = true, [":path"] = true, [":scheme"] = true,
  ["host"] = true, ["content-length"] = true,
  -- Envoy finds no route without it; request_headers_to_remove removes it later.
  ["x-forwarded-proto"] = true}
local sent_by_envoy = {["x-request-id"] = true,
  ["x-envoy-internal"] = true, ["connection"] = true, ["keep-alive"] = true}

local function refuse(handle, status)
  handle:respond({[":status"] = status}, "")
end

function envoy_on_request(handle)
  local name = handle:metadata():get("role")
  if name == nil then return end
  local role = roles[name]
  local users = handle:metadata():get("users")
  local headers = handle:headers()
  local method = headers:get(":method")
  local counts = {}
  for key, _ in pairs(headers) do counts[key] = (counts[key] or 0) + 1 end
  if counts["transfer-encoding"] then return refuse(handle, "411") end
  if counts["content-encoding"] then return refuse(handle, "415") end
  for key, number in pairs(counts) do
    local listed = role.fields[key] or (users and key == "authorization")
    if role.refuses_unlisted and not listed and not own[key] and not sent_by_envoy[key] then
      return refuse(handle, "400")
    end
    if number > 1 and (own[key] or (listed and not role.repeatable[key])) then
      return refuse(handle, "400")
    end
  end
  -- [HEADER-DP] No number of a range has more than 15 digits.
  local range = headers:get("range")
  if range and range:find(string.rep("%d", 16)) then return refuse(handle, "416") end
  local body = role.bodies[method]
  local length = tonumber(headers:get("content-length") or "0")
  local media_type = (headers:get("content-type") or ""):lower():match("^([^; \\t]*)")
  if body == nil or length == nil then return refuse(handle, "400") end
  if length > body.limit then return refuse(handle, "413") end
  if length == 0 and body.required then return refuse(handle, "411") end
  if length > 0 and body.types and not body.types[media_type] then
    return refuse(handle, "415")
  end
  -- [USER-WINDOWS-AUTH] Only Negotiate and NTLM.
  local authorization = headers:get("authorization")
  if users and authorization then
    local scheme = authorization:lower():match("^(%a+) ")
    if scheme ~= "negotiate" and scheme ~= "ntlm" then return refuse(handle, "400") end
  end
  for key, _ in pairs(counts) do
    local listed = role.fields[key] or (users and key == "authorization")
    local dropped = role.dropped[key] and role.dropped[key][method]
    if not own[key] and (not listed or dropped) then headers:remove(key) end
  end
end
"""


def lua_code(roles: Iterable[ExportedRole], *, refuses_unlisted: bool) -> str:
    """Return the code for the roles of a publication."""
    tables = ",\n".join(_role(role, refuses_unlisted) for role in roles)
    return f"local roles = {{\n{tables}\n}}\n{_CODE}"


def _role(role: ExportedRole, refuses_unlisted: bool) -> str:
    fields = [field for field in role.fields if field != "authorization"]
    bodies = ", ".join(
        f"[{_text(verb)}] = {{required = {_flag(rule.required)}, limit = {rule.limit}, "
        f"types = {_types(rule.media_types)}}}"
        for verb, rule in role.verbs.items()
    )
    dropped = ", ".join(f"[{_text(name)}] = {_set(verbs)}" for name, verbs in role.dropped.items())
    return (
        f"  -- {role.name}: [{role.fields_requirement}] [{role.verbs_requirement}]\n"
        f"  [{_text(role.name)}] = {{refuses_unlisted = {_flag(refuses_unlisted)},\n"
        f"    fields = {_set(fields)},\n"
        f"    repeatable = {_set(sorted(role.repeatable))},\n"
        f"    dropped = {{{dropped}}},\n"
        f"    bodies = {{{bodies}}}}}"
    )


def _types(media_types: Iterable[bytes]) -> str:
    names = sorted(media_type.decode("ascii") for media_type in media_types)
    return _set(names) if names else "nil"


def _set(names: Iterable[str]) -> str:
    return "{" + ", ".join(f"[{_text(name)}] = true" for name in names) + "}"


def _text(text: str) -> str:
    # Names of verbs, fields and roles have no character that Lua and JSON quote differently.
    return json.dumps(text)


def _flag(value: bool) -> str:
    return "true" if value else "false"
