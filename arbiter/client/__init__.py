"""The client for systems that ask: typed, for threads (:class:`Client`) and for an event loop (:class:`AsyncClient`).

It needs confluent-kafka and msgspec, and nothing of the worker's.
"""

from arbiter.client.async_client import AsyncClient
from arbiter.client.async_halves import AsyncDecisionReader, AsyncProducer
from arbiter.client.async_stream import AsyncDecisionStream
from arbiter.client.async_ticket import AsyncDelivery, AsyncTicket
from arbiter.client.client import Client
from arbiter.client.connection import Connection
from arbiter.client.core.building import Message, build
from arbiter.client.core.decisions import Decision
from arbiter.client.core.errors import (
    ClientClosed,
    ClientError,
    ClientFailed,
    DecisionTimeout,
    InvalidMessage,
    KafkaUnreachable,
    NotDelivered,
    PermitError,
    PermitExpired,
    PermitNotOpen,
    PermitUsed,
    PermitVoid,
    QueueFull,
    Undelivered,
)
from arbiter.client.core.faults import Fault
from arbiter.client.core.following import Fold, ReadDecision
from arbiter.client.core.permits import Permit
from arbiter.client.core.records import Envelope, Place, Record, envelope, record_of
from arbiter.client.core.sender import stable_id
from arbiter.client.reading import DecisionReader
from arbiter.client.stream import DecisionStream
from arbiter.client.ticket import Delivery, Ticket

__all__ = [
    "AsyncClient",
    "AsyncDecisionReader",
    "AsyncDecisionStream",
    "AsyncDelivery",
    "AsyncProducer",
    "AsyncTicket",
    "Client",
    "ClientClosed",
    "ClientError",
    "ClientFailed",
    "Connection",
    "Decision",
    "DecisionReader",
    "DecisionStream",
    "DecisionTimeout",
    "Delivery",
    "Envelope",
    "Fault",
    "Fold",
    "InvalidMessage",
    "KafkaUnreachable",
    "Message",
    "NotDelivered",
    "Permit",
    "PermitError",
    "PermitExpired",
    "PermitNotOpen",
    "PermitUsed",
    "PermitVoid",
    "Place",
    "QueueFull",
    "ReadDecision",
    "Record",
    "Ticket",
    "Undelivered",
    "build",
    "envelope",
    "record_of",
    "stable_id",
]
