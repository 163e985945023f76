"""The policies that come with the gateway: one module each.

:data:`BUILTIN` is the order in which their request hooks run within a stage; response hooks run in the reverse order.
A policy's place in the list is part of what users rely on, so each line says why it is there.
"""

from typing import Any

from gatewright.policies.api_key import ApiKey
from gatewright.policies.basic import Basic
from gatewright.policies.cors import Cors
from gatewright.policies.forward_auth import ForwardAuth
from gatewright.policies.grpc_web import GrpcWeb
from gatewright.policies.headers import HeadersPolicy
from gatewright.policies.hmac import Hmac
from gatewright.policies.ip_filter import IpFilter
from gatewright.policies.rate_limit import RateLimit
from gatewright.policies.request_id import RequestId
from gatewright.policies.request_limits import RequestLimits
from gatewright.policies.security_headers import SecurityHeaders
from gatewright.sdk import Policy

BUILTIN: tuple[type[Policy[Any]], ...] = (
    # admission
    RequestId,  # first: every answer and log line after it has the id
    SecurityHeaders,  # before all that may refuse, so that refusals carry them too
    Cors,  # before refusals as well: a browser must be able to read why; preflights carry no credentials
    GrpcWeb,  # before all that looks into requests: they see plain gRPC; behind CORS, which preflights need
    IpFilter,  # before anything that costs more than a look-up
    RequestLimits,  # before anybody reads what may be too large
    # identify
    ApiKey,  # who calls: needed by all below; before the next ones because it costs the least
    Hmac,  # behind keys: parsing and verifying costs more than a look-up
    Basic,  # behind keys: what it must verify the first time takes long
    ForwardAuth,  # last of its stage: asking another service costs the most, and who is refused before it asks nobody
    # limit
    RateLimit,  # after identify: the key can be the consumer
    # transform
    HeadersPolicy,  # last: sees all that was found out, and nothing undoes its changes
)
"""Every built-in policy, in run order."""
