# SPDX-License-Identifier: MIT OR Apache-2.0
"""ODIL as SCU and SCP, as its own programs (`odil echo`, `odil store`) and examples have it.

    python3 odil_peer.py echo PORT
    python3 odil_peer.py send PORT FILE...
    python3 odil_peer.py receive PORT FOLDER [MAX_PDU]

It proposes each SOP class with Explicit and Implicit VR Little Endian, and stops at the first failure. The receiver accepts
what is proposed, and writes each data set as ODIL writes it, in the syntax it came in.
"""
import os
import sys

import odil

PC = odil.AssociationParameters.PresentationContext
SYNTAXES = [odil.registry.ExplicitVRLittleEndian, odil.registry.ImplicitVRLittleEndian]


def associate(port, classes):
    association = odil.Association()
    association.set_peer_host("127.0.0.1")
    association.set_peer_port(port)
    contexts = [PC(2 * i + 1, c, SYNTAXES, PC.Role.SCU) for i, c in enumerate(classes)]
    association.update_parameters().set_calling_ae_title("ODIL").set_called_ae_title("OURS").set_presentation_contexts(contexts)
    association.associate()
    return association


def echo(port):
    association = associate(port, [odil.registry.Verification])
    odil.EchoSCU(association).echo()
    association.release()


def send(port, files):
    data_sets = [odil.Reader.read_file(f)[1] for f in files]
    association = associate(port, sorted({d.as_string("SOPClassUID")[0] for d in data_sets}))
    store = odil.StoreSCU(association)
    for data_set in data_sets:
        store.set_affected_sop_class(data_set)
        store.store(data_set)
    association.release()


def serve(port, folder, max_pdu, number):
    association = odil.Association()
    if max_pdu:
        association.update_parameters().set_maximum_length(max_pdu)
    association.receive_association("v4", port)
    syntaxes = {c.abstract_syntax: c.transfer_syntaxes[0] for c in association.get_negotiated_parameters().get_presentation_contexts()}

    def on_store(message):
        number[0] += 1
        sop_class = message.get_affected_sop_class_uid()
        odil.Writer.write_file(message.get_data_set(), os.path.join(folder, f"{number[0]:06d}.dcm"), odil.DataSet(), syntaxes[sop_class])
        return 0

    dispatcher = odil.SCPDispatcher(association)
    echo_scp, store_scp = odil.EchoSCP(association), odil.StoreSCP(association)
    echo_scp.set_callback(lambda message: 0)
    store_scp.set_callback(on_store)
    dispatcher.set_echo_scp(echo_scp)
    dispatcher.set_store_scp(store_scp)
    while association.is_associated():
        dispatcher.dispatch()


def receive(port, folder, max_pdu):
    number = [0]
    while True:
        try:
            serve(port, folder, max_pdu, number)
        except (odil.AssociationReleased, odil.AssociationAborted, odil.Exception) as ended:
            print(type(ended).__name__, ended)


role, port, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
if role == "echo":
    echo(port)
elif role == "send":
    send(port, rest)
else:
    receive(port, rest[0], int(rest[1]) if rest[1:] else 0)
