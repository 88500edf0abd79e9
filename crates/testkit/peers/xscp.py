# SPDX-License-Identifier: MIT OR Apache-2.0
"""A byte-exact Storage SCP on pynetdicom, with the faults of real ones.

    python xscp.py PORT OUT_DIR SECONDS [options]

Writes each dataset as it came over the wire (with a file meta group) to OUT_DIR/NNNNNN.dcm, and one line per C-STORE to
OUT_DIR/log.tsv: number, time, calling, called, SOP class, SOP instance, transfer syntax, sha256 of the dataset bytes, status.
Duplicates are therefore seen, and no received UID names a file. Prints one line per association request.
"""
import argparse
import hashlib
import os
import shutil
import ssl
import threading
import time

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification

_config.STORE_RECV_CHUNKED_DATASET = True


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("port", type=int)
    p.add_argument("out")
    p.add_argument("seconds", type=float)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--max-pdu", type=int, default=16382)
    p.add_argument("--max-assoc", type=int, default=100)
    p.add_argument("--reject-ts", nargs="*", default=[], help="transfer syntaxes it does not take")
    p.add_argument("--only-ts", nargs="*", default=[], help="the only transfer syntaxes it takes")
    p.add_argument("--only-sop", nargs="*", default=[], help="the only SOP classes it takes")
    p.add_argument("--require-calling", nargs="*", default=[])
    p.add_argument("--require-called", default="")
    p.add_argument("--slow", type=int, default=0, help="milliseconds spent on each instance")
    p.add_argument("--status", default="0000", help="the status it answers")
    p.add_argument("--status-every", nargs=2, metavar=("N", "HEX"), help="another status for every Nth")
    p.add_argument("--status-uid", nargs=2, metavar=("UID", "HEX"), help="another status for one SOP instance, each time")
    p.add_argument("--abort-uid", default="", help="A-ABORT instead of an answer to one SOP instance, each time")
    p.add_argument("--abort-every", type=int, default=0, help="A-ABORT instead of an answer to every Nth")
    p.add_argument("--forget-every", type=int, default=0, help="answers 0000 and keeps nothing for every Nth")
    p.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="speak TLS with this certificate")
    p.add_argument("--tls-trust", default="", help="require a certificate that one of this file has issued")
    p.add_argument("--tls-version", default="", choices=["", "1.2", "1.3"], help="the only version")
    return p.parse_args()


def tls(a):
    if not a.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*a.tls)
    if a.tls_trust:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(a.tls_trust)
    if a.tls_version:
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + a.tls_version.replace(".", "_"))
    return context


def main():
    a = options()
    os.makedirs(a.out, exist_ok=True)
    _config.UNRESTRICTED_STORAGE_SERVICE = not (a.only_sop or a.only_ts or a.reject_ts)
    lock, count = threading.Lock(), [0]
    log = open(os.path.join(a.out, "log.tsv"), "a", buffering=1)

    def every(n, number):
        return bool(n) and number % n == 0

    def on_store(event):
        with lock:
            count[0] += 1
            number = count[0]
        with open(event.dataset_path, "rb") as f:
            whole = f.read()
        dataset = whole[144 + int.from_bytes(whole[140:144], "little"):]  # after preamble, prefix and group 2
        status = int(a.status_every[1], 16) if a.status_every and every(int(a.status_every[0]), number) else int(a.status, 16)
        r, assoc = event.request, event.assoc
        uid = str(r.AffectedSOPInstanceUID)
        if a.status_uid and uid == a.status_uid[0]:
            status = int(a.status_uid[1], 16)
        aborts = every(a.abort_every, number) or uid == a.abort_uid
        log.write("\t".join([f"{number:06d}", f"{time.time():.6f}", str(assoc.requestor.primitive.calling_ae_title), str(assoc.requestor.primitive.called_ae_title),
                             str(r.AffectedSOPClassUID), uid, str(event.context.transfer_syntax),
                             hashlib.sha256(dataset).hexdigest(), "abort" if aborts else f"{status:04x}"]) + "\n")
        time.sleep(a.slow / 1000)
        if aborts:
            assoc.abort()
            return 0xC000
        if not every(a.forget_every, number):
            shutil.copy(event.dataset_path, os.path.join(a.out, f"{number:06d}.dcm"))
        return status

    def on_request(event):
        r = event.assoc.requestor
        print("association:", r.primitive.calling_ae_title, "->", r.primitive.called_ae_title, "contexts", len(r.requested_contexts),
              "max pdu", r.maximum_length, "async", r.asynchronous_operations, flush=True)

    ae = AE("XSCP")
    ae.maximum_pdu_size, ae.maximum_associations = a.max_pdu, a.max_assoc
    if a.require_calling:
        ae.require_calling_aet = a.require_calling
    if a.require_called:
        ae.ae_title, ae.require_called_aet = a.require_called, True
    syntaxes = [ts for ts in (a.only_ts or ALL_TRANSFER_SYNTAXES) if ts not in a.reject_ts]
    for uid in a.only_sop or [c.abstract_syntax for c in AllStoragePresentationContexts]:
        ae.add_supported_context(uid, syntaxes)
    ae.add_supported_context(Verification)
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_ECHO, lambda e: 0), (evt.EVT_REQUESTED, on_request)]
    server = ae.start_server((a.host, a.port), block=False, evt_handlers=handlers, ssl_context=tls(a))
    print("listening", a.port, flush=True)
    time.sleep(a.seconds)
    server.shutdown()


if __name__ == "__main__":
    main()
