"""Tokens."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.fields import PlainText
from service.api.schemas.shared import Input


class TokenRequest(Input):
    """What a token is asked for with."""

    api_key = PlainText(
        200,
        required=True,
        metadata={"description": "The API key (api_key có trong thông tin của account)."},
    )


class TokenSchema(Schema):
    """A token, as the reference shows it."""

    client_id = fields.UUID(required=True, metadata={"description": "The client that the key belongs to."})
    expired_in = fields.Integer(required=True, metadata={"description": "Whole seconds that the token lasts."})
    refresh_token = fields.String(required=True, metadata={"description": "Always empty: ask again with the key."})
    token = fields.String(required=True, metadata={"description": "Send it as `Authorization: Bearer {token}`."})
    token_type = fields.Constant("Bearer", required=True)
    user_id = fields.String(required=True, metadata={"description": "The id of the API key: who asks, in a log."})


class TokenAnswer(Schema):
    """A token in its envelope."""

    data = fields.Nested(TokenSchema, required=True)
