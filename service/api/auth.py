"""`POST /v1/auth/token`: an API key for a token."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.keys import find_key
from service.api.answer import secret_answer
from service.api.context import services
from service.api.parsing import Blueprint
from service.api.schemas import examples
from service.api.schemas.auth import TokenAnswer, TokenRequest

blueprint = Blueprint("Authentication", __name__, url_prefix="/v1/auth", description="Tokens")


@blueprint.route("/token", methods=["POST"])
@blueprint.arguments(TokenRequest())
@blueprint.response(200, TokenAnswer(), example=examples.TOKEN)
def create_token(body: dict[str, Any]) -> Response:
    """Exchange an API key for a token.

    API Token bạn lấy từ service thông qua {API_KEY} được Tổng đài cung cấp.
    """
    services().limits.count_token_request()
    holder = find_key(services().engine, body["api_key"])
    token = services().signer.sign(holder, services().config.token_ttl)
    return secret_answer(
        {
            "data": {
                "client_id": str(holder.client_id),
                "expired_in": token.seconds_left,
                "refresh_token": "",
                "token": token.text,
                "token_type": "Bearer",
                "user_id": str(holder.key_id),
            }
        }
    )
