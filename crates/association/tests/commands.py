"""Command sets by pynetdicom, and what it reads in ours. One line each: name, bytes in hex, fields.

encode            every kind of message, with every element that it may have
fixtures          those of pynetdicom's own tests
decode HEX...     what it reads in these; of a message that it takes for incomplete or invalid it says so
"""

import sys
from io import BytesIO

from pynetdicom import dimse_messages
from pynetdicom.dimse_messages import _COMMAND_SET_KEYWORDS, _DATASET_KEYWORDS, _MESSAGE_TYPES, DIMSEMessage
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

CLASS = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.392.200036.9116.2.6.1.48"
VALUES = {
    "AffectedSOPClassUID": CLASS,
    "RequestedSOPClassUID": CLASS,
    "AffectedSOPInstanceUID": INSTANCE,
    "RequestedSOPInstanceUID": INSTANCE,
    "MessageID": 7,
    "MessageIDBeingRespondedTo": 7,
    "Status": 0xA900,
    "ErrorComment": "no such thing",
    "OffendingElement": [0x00100010, 0x7FE00010],
    "AttributeIdentifierList": [0x00100010, 0x7FE00010],
    "MoveDestination": "MOVE_SCP1",
    "MoveOriginatorApplicationEntityTitle": "MOVE_SCP1",
    "Priority": 2,
    "ErrorID": 2,
    "MoveOriginatorMessageID": 3,
    "EventTypeID": 3,
    "ActionTypeID": 4,
    "NumberOfRemainingSuboperations": 5,
    "NumberOfCompletedSuboperations": 6,
    "NumberOfFailedSuboperations": 7,
    "NumberOfWarningSuboperations": 8,
}


def encoded():
    for field, (name, message_class) in _MESSAGE_TYPES.items():
        message = message_class()
        elements = message.command_set
        for keyword in _COMMAND_SET_KEYWORDS[name]:
            if keyword in VALUES:
                setattr(elements, keyword, VALUES[keyword])
        elements.CommandField = field
        elements.CommandDataSetType = 1 if message_class.__name__ in _DATASET_KEYWORDS else 0x0101
        message._set_command_group_length()
        yield encode(elements, True, True)


def fixtures():
    from pynetdicom.tests import encoded_dimse_msg, encoded_dimse_n_msg

    for module in (encoded_dimse_msg, encoded_dimse_n_msg):
        for name, value in sorted(vars(module).items()):
            if "_cmd" in name:
                yield value[1:]


def show(command):
    message = DIMSEMessage()
    data = P_DATA()
    data.presentation_data_value_list.append((1, b"\x03" + command))
    whole = message.decode_msg(data)
    if not whole:
        rest = P_DATA()
        rest.presentation_data_value_list.append((1, b"\x02\x08\x00\x16\x00\x00\x00\x00\x00"))
        whole = message.decode_msg(rest)
    primitive = message.message_to_primitive()
    is_request = message.command_set.CommandField & 0x8000 == 0
    is_valid = getattr(primitive, "is_valid_request" if is_request else "is_valid_response", True)
    said = "" if whole and is_valid else " (not valid)"
    fields = [f"{element.keyword}={element.value!r}" for element in message.command_set]
    return f"{type(message).__name__}{said}\t{command.hex()}\t{'; '.join(fields)}"


mode, *given = sys.argv[1:]
commands = {"encode": encoded, "fixtures": fixtures, "decode": lambda: map(bytes.fromhex, given)}[mode]
for command in commands():
    print(show(command))
