"""What pynetdicom reads of control PDUs: a line of JSON for each. With `fixtures` its own tests' PDUs, else hexadecimal
lines from standard input."""

import json
import sys

from pynetdicom import pdu as pdus
from pynetdicom import pdu_items as items

KINDS = {
    1: pdus.A_ASSOCIATE_RQ,
    2: pdus.A_ASSOCIATE_AC,
    3: pdus.A_ASSOCIATE_RJ,
    5: pdus.A_RELEASE_RQ,
    6: pdus.A_RELEASE_RP,
    7: pdus.A_ABORT_RQ,
}


def text(value):
    value = value.decode("ascii") if isinstance(value, bytes) else str(value)
    return value.strip("\0 ")


def user_information(item):
    user = {"roles": [], "extended": [], "common_extended": []}
    for sub in item.user_data if item else []:
        if isinstance(sub, items.MaximumLengthSubItem):
            user["max_pdu_length"] = sub.maximum_length_received
        elif isinstance(sub, items.ImplementationClassUIDSubItem):
            user["class"] = text(sub.implementation_class_uid)
        elif isinstance(sub, items.ImplementationVersionNameSubItem):
            user["version"] = text(sub.implementation_version_name)
        elif isinstance(sub, items.AsynchronousOperationsWindowSubItem):
            user["window"] = [sub.maximum_number_operations_invoked, sub.maximum_number_operations_performed]
        elif isinstance(sub, items.SCP_SCU_RoleSelectionSubItem):
            user["roles"].append([text(sub.sop_class_uid), bool(sub.scu_role), bool(sub.scp_role)])
        elif isinstance(sub, items.SOPClassExtendedNegotiationSubItem):
            user["extended"].append([text(sub.sop_class_uid), sub.service_class_application_information.hex()])
        elif isinstance(sub, items.SOPClassCommonExtendedNegotiationSubItem):
            related = [text(uid) for uid in sub.related_general_sop_class_identification]
            user["common_extended"].append([text(sub.sop_class_uid), text(sub.service_class_uid), related])
        elif isinstance(sub, items.UserIdentitySubItemRQ):
            secondary = (sub.secondary_field or b"").hex()
            asks = bool(sub.positive_response_requested)
            user["identity"] = [sub.user_identity_type, asks, sub.primary_field.hex(), secondary]
        elif isinstance(sub, items.UserIdentitySubItemAC):
            user["identity_response"] = sub.server_response.hex()
    return user


def fields(data):
    pdu = KINDS[data[0]]()
    pdu.decode(data)
    shown = {"type": data[0]}
    if data[0] in (1, 2):
        shown["application_context"] = text(pdu.application_context_name)
        shown["user"] = user_information(pdu.user_information)
    if data[0] == 1:
        shown["called"], shown["calling"] = text(pdu.called_ae_title), text(pdu.calling_ae_title)
        shown["contexts"] = [
            [context.context_id, text(context.abstract_syntax), [text(uid) for uid in context.transfer_syntax]]
            for context in pdu.presentation_context
        ]
    if data[0] == 2:
        shown["contexts"] = [
            # The syntax of a rejected context is not significant.
            [c.context_id, c.result, text(c.transfer_syntax) if c.result == 0 else ""] for c in pdu.presentation_context
        ]
    if data[0] == 3:
        shown["codes"] = [pdu.result, pdu.source, pdu.reason_diagnostic]
    if data[0] == 7:
        shown["codes"] = [pdu.source, pdu.reason_diagnostic]
    return shown


if sys.argv[1:] == ["fixtures"]:
    from pynetdicom.tests import encoded_pdu_items as fixtures

    for name, data in sorted(vars(fixtures).items()):
        whole = isinstance(data, bytes) and len(data) > 6 and int.from_bytes(data[2:6], "big") == len(data) - 6
        if whole and data[0] in KINDS:
            try:
                read = fields(data)
            except ValueError as error:
                read = {"refused": str(error)}
            print(json.dumps({"name": name, "hex": data.hex(), "fields": read}))
else:
    for line in sys.stdin:
        print(json.dumps(fields(bytes.fromhex(line))))
