"""AWS errors as exceptions, and their wire form for each of the protocols in use."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from moto.ec2.exceptions import EC2ClientError


class LocalEc2Error(RuntimeError):
    """The Local EC2 itself cannot do what it was asked to do (not an answer of AWS)."""


class ApiError(Exception):
    """A request that is refused before it reaches the service."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def ec2_error(code: str, message: str) -> Exception:
    """An EC2 error with HTTP status 400, to be raised inside the backend."""
    error: Exception = EC2ClientError(code, message)
    return error


def render_error(service: str, code: str, message: str, request_id: str) -> tuple[str, bytes]:
    """Content type and body of an error as `service` would send it.

    ec2, query (sts, autoscaling, iam), rest-xml (s3) and JSON (sqs, ebs) differ in shape.
    """
    xml_code, xml_message = escape(code), escape(message)
    if service in ("sqs", "ebs"):
        body = json.dumps({"__type": code, "message": message})
        return "application/x-amz-json-1.0", body.encode()
    if service == "ec2":
        text = (
            f"<Response><Errors><Error><Code>{xml_code}</Code><Message>{xml_message}</Message>"
            f"</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        )
    elif service == "s3":
        text = (
            f"<Error><Code>{xml_code}</Code><Message>{xml_message}</Message>"
            f"<RequestId>{request_id}</RequestId></Error>"
        )
    else:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{xml_code}</Code>"
            f"<Message>{xml_message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return "text/xml;charset=UTF-8", f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
