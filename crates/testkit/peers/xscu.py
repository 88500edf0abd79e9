# SPDX-License-Identifier: MIT OR Apache-2.0
"""A byte-exact Storage SCU on pynetdicom: sends the dataset bytes of each file as they are in the file.

    python xscu.py PORT CALLED_AE DIR [options]

Prints every instance that was not answered 0000, then the presentation contexts that were rejected, by SOP class.
"""
import argparse
import glob
import os
import ssl
import warnings

import pydicom
from pydicom import config
from pynetdicom import AE, AllStoragePresentationContexts, _config, build_context

warnings.simplefilter("ignore")
config.settings.reading_validation_mode = config.IGNORE
_config.STORE_SEND_CHUNKED_DATASET = True
NATIVE = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("port", type=int)
    p.add_argument("called")
    p.add_argument("dir")
    p.add_argument("--calling", default="GWSCU")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--max-pdu", type=int, default=16382)
    p.add_argument("--propose", default="needed", choices=["needed", "needed+native", "grouped", "all"],
                   help="one context per (class, syntax); the same and native ones; one context per class with all its syntaxes; all storage classes too")
    p.add_argument("--stop-on-failure", action="store_true", help="like most senders: abort at the first instance that is refused")
    p.add_argument("--priority", type=int, default=2, choices=[0, 1, 2], help="0 medium, 1 high, 2 low")
    p.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="speak TLS with this certificate")
    p.add_argument("--tls-trust", default="", help="trust who is in this file, whatever the name; without it, anybody")
    p.add_argument("--tls-version", default="", choices=["", "1.2", "1.3"], help="the only version")
    return p.parse_args()


def tls(a):
    if not a.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if a.tls_trust else ssl.CERT_NONE
    context.load_cert_chain(*a.tls)
    if a.tls_trust:
        context.load_verify_locations(a.tls_trust)
    if a.tls_version:
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + a.tls_version.replace(".", "_"))
    return context, None


def contexts(wanted, how):
    by_class = {}
    for sop, ts in sorted(wanted):
        by_class.setdefault(sop, []).append(ts)
    if how == "needed":
        return [build_context(c, t) for c, t in sorted(wanted)]
    if how == "needed+native":
        return [build_context(c, t) for c, t in sorted(wanted)] + [build_context(c, NATIVE) for c in sorted(by_class)]
    made = [build_context(c, ts + [n for n in NATIVE if n not in ts]) for c, ts in sorted(by_class.items())]
    if how == "all":
        made += [build_context(c.abstract_syntax, NATIVE) for c in AllStoragePresentationContexts if c.abstract_syntax not in by_class]
    return made


def send(a, files, proposed, totals):
    ae = AE(a.calling)
    ae.maximum_pdu_size = a.max_pdu
    ae.requested_contexts = proposed[:128]
    assoc = ae.associate(a.host, a.port, ae_title=a.called, tls_args=tls(a))
    if not assoc.is_established:
        raise SystemExit("no association: " + ("rejected" if assoc.is_rejected else "aborted or refused"))
    for f in files:
        name = os.path.basename(f)
        if not assoc.is_established:
            print("association lost before", name)
            break
        try:
            status = assoc.send_c_store(f, priority=a.priority)
            code = f"{status.Status:04x}" if status else "no status"
        except Exception as error:  # a context that was refused
            code = type(error).__name__
        totals["sent" if code == "0000" else "not sent"] += 1
        if code != "0000":
            print(name, code)
            if a.stop_on_failure:
                assoc.abort()
                break
    totals["rejected"] |= {c.abstract_syntax.name for c in assoc.rejected_contexts}
    if assoc.is_established:
        assoc.release()


def main():
    a = options()
    files = sorted(f for f in glob.glob(a.dir + "/**/*", recursive=True) if os.path.isfile(f) and not f.endswith((".tsv", ".md")))
    classes = {}
    for f in files:
        ds = pydicom.dcmread(f, stop_before_pixels=True)
        classes.setdefault(str(ds.SOPClassUID), []).append((f, str(ds.file_meta.TransferSyntaxUID)))
    batches, size = [[]], 0
    for sop, members in sorted(classes.items()):  # at most 128 contexts an association
        need = len({ts for _, ts in members}) + 1
        if size + need > 128:
            batches.append([])
            size = 0
        batches[-1] += [(f, sop, ts) for f, ts in members]
        size += need
    totals = {"sent": 0, "not sent": 0, "rejected": set()}
    for batch in batches:
        proposed = contexts({(sop, ts) for _, sop, ts in batch}, a.propose)
        send(a, sorted(f for f, _, _ in batch), proposed, totals)
    print(f"sent {totals['sent']}, not sent {totals['not sent']}, rejected contexts: {', '.join(sorted(totals['rejected'])) or 'none'}")


if __name__ == "__main__":
    main()
