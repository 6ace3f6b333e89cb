"""What the routes are given: the parts the app was created with."""

from typing import Annotated

from fastapi import Depends, Request

from api.broker import Broker
from spec.settings import Settings
from store.database import Sessions


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


async def _broker(request: Request) -> Broker:
    broker: Broker = request.app.state.broker
    return broker


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


SessionsPart = Annotated[Sessions, Depends(_sessions)]
BrokerPart = Annotated[Broker, Depends(_broker)]
SettingsPart = Annotated[Settings, Depends(_settings)]
