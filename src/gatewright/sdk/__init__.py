"""The public interface for policies and plugins. What is not named here may change without notice."""

from gatewright.http.answer import Answer, ServiceError
from gatewright.http.head import RequestHead, ResponseHead
from gatewright.http.headers import Fields, Headers, Pair
from gatewright.http.reply import Refused, Reply
from gatewright.sdk.env import Counter, Env, Expression, Limiter, Memory
from gatewright.sdk.exchange import CREDENTIAL, Consumer, ExchangeView, Secret
from gatewright.sdk.policy import (
    STAGES,
    BodyPolicy,
    InvalidPolicy,
    Outcome,
    Policy,
    PolicyConfig,
)
from gatewright.sdk.service import Flights, Service, ServiceSpec, ServiceUrl

__all__ = [
    "CREDENTIAL",
    "STAGES",
    "Answer",
    "BodyPolicy",
    "Consumer",
    "Counter",
    "Env",
    "ExchangeView",
    "Expression",
    "Fields",
    "Flights",
    "Headers",
    "InvalidPolicy",
    "Limiter",
    "Memory",
    "Outcome",
    "Pair",
    "Policy",
    "PolicyConfig",
    "Refused",
    "Reply",
    "RequestHead",
    "ResponseHead",
    "Secret",
    "Service",
    "ServiceError",
    "ServiceSpec",
    "ServiceUrl",
]
