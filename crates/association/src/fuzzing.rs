//! What the fuzz targets call, and unit tests on their corpora: every decoder of peer bytes, which must not panic.

use std::net::{IpAddr, Ipv4Addr};

use bytes::{Bytes, BytesMut};
use packhorse_dicom::negotiation::{Answer, AsyncOperationsWindow, ContextAnswer, ProposedContext};

use crate::codec::UserInformation;
use crate::pdv::Pdvs;
use crate::{Pdu, codec, dimse, negotiate};

/// Bytes as a peer's stream of PDUs. What can be read can be written and read again.
pub fn pdu(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(pdu)) = codec::next_pdu(&mut buffer, 1 << 20) {
        let mut again = BytesMut::new();
        codec::encode(&pdu, &mut again).expect("what was read fits into what it was read from");
        let mut expected = pdu;
        if let Pdu::AssociateRq(rq) = &mut expected {
            // Not written: there is nothing in them that could be.
            rq.unusable.clear();
            if rq.contexts.is_empty() {
                continue;
            }
        }
        if let Pdu::AssociateAc(ac) = &mut expected {
            // A rejected context without a syntax is written with one.
            ac.contexts.iter_mut().for_each(|context| {
                let implicit = || "1.2.840.10008.1.2".try_into().expect("a UID");
                context.transfer_syntax.get_or_insert_with(implicit);
            });
        }
        assert_eq!(codec::next_pdu(&mut again, 1 << 20), Ok(Some(expected)));
    }
}

/// Bytes as a peer's A-ASSOCIATE-RQ, decided by an acceptor that says yes to everything and more: the answer is within what
/// was asked for, fits into its PDU, and can be read.
pub fn negotiation(data: &[u8]) {
    let Ok(Pdu::AssociateRq(rq)) = codec::decode(1, Bytes::copy_from_slice(data)) else {
        return;
    };
    let Ok(proposal) = negotiate::proposal(&rq, IpAddr::V4(Ipv4Addr::LOCALHOST), "") else {
        return;
    };
    let first = |context: &ProposedContext| context.transfer_syntaxes.first().cloned();
    let answers = proposal.contexts.iter().filter_map(|context| {
        let syntax = first(context)?;
        Some((context.id, ContextAnswer::Accepted(syntax)))
    });
    let generous = UserInformation {
        roles: proposal.roles.clone(),
        extended: proposal.extended.clone(),
        async_operations: Some(AsyncOperationsWindow {
            invoked: 0,
            performed: 0,
        }),
        user_identity_response: Some(Bytes::from_static(b"welcome")),
        ..UserInformation::ours(0)
    };
    let pdu = negotiate::answer_pdu(&rq, &Answer::Accept(answers.collect()), generous);
    let mut wire = BytesMut::new();
    codec::encode(&pdu, &mut wire).expect("an answer is no longer than its request");
    let Ok(Some(Pdu::AssociateAc(ac))) = codec::next_pdu(&mut wire, 0) else {
        panic!("the answer can be read")
    };
    assert_eq!(ac.contexts.len(), rq.contexts.len() + rq.unusable.len());
    for context in &rq.contexts {
        let takes = matches!(negotiate::context_answer(&ac, context), ContextAnswer::Accepted(_));
        assert_eq!(takes, !context.transfer_syntaxes.is_empty());
    }
    assert!(ac.user.roles.len() <= rq.contexts.len() && ac.user.common_extended.is_empty());
    for role in &ac.user.roles {
        let asked = rq
            .user
            .roles
            .iter()
            .find(|asked| asked.abstract_syntax == role.abstract_syntax);
        assert!(asked.is_some_and(|asked| asked.scu >= role.scu && asked.scp >= role.scp));
    }
    let wants = rq
        .user
        .user_identity
        .as_ref()
        .is_some_and(|identity| identity.positive_response_requested);
    assert_eq!(ac.user.user_identity_response.is_some(), wants);
    assert_eq!(ac.user.async_operations, rq.user.async_operations);
}

/// Bytes as the variable field of a P-DATA-TF, through the assembler.
pub fn pdv(data: &[u8]) {
    let mut pdvs = Pdvs::new(Bytes::copy_from_slice(data));
    let mut assembler = dimse::Assembler::default();
    while let Ok(Some(pdv)) = pdvs.next_pdv() {
        if assembler.push(pdv).is_err() {
            return;
        }
    }
}

/// Bytes as a command set. What can be read can be written, and reads back equal; only an odd length becomes even.
///
/// # Panics
/// When it does not.
pub fn command(data: &[u8]) {
    let Ok(command) = dimse::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    let bytes = command.to_bytes();
    let again = dimse::decode(bytes.clone()).expect("what was written can be read");
    assert_eq!(again.to_bytes(), bytes, "what was written reads back equal");
    assert!(
        again == command || has_odd_length(data),
        "{command:?} reads back as {again:?}"
    );
}

/// Whether a command set that could be read has an element of odd length.
fn has_odd_length(mut data: &[u8]) -> bool {
    while let Some((&[_, _, _, _, a, b, c, d], rest)) = data.split_first_chunk::<8>() {
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length % 2 == 1 {
            return true;
        }
        data = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;
    use packhorse_testkit::corpus;

    use crate::dimse;

    #[test]
    fn the_inputs_that_are_kept_are_survived() {
        corpus::fuzz_inputs("pdu").iter().for_each(|input| super::pdu(input));
        corpus::fuzz_inputs("negotiation")
            .iter()
            .for_each(|input| super::negotiation(input));
        corpus::fuzz_inputs("pdv").iter().for_each(|input| super::pdv(input));
        corpus::fuzz_inputs("command")
            .iter()
            .for_each(|input| super::command(input));
    }

    #[test]
    fn the_command_corpus_has_every_kind_of_message() {
        let inputs = corpus::fuzz_inputs("command");
        let commands = inputs
            .into_iter()
            .filter_map(|input| dimse::decode(Bytes::from(input)).ok());
        let kinds: HashSet<u16> = commands.map(|command| command.command_field()).collect();
        for kind in [
            0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150,
        ] {
            assert!(kinds.contains(&kind) && kinds.contains(&(kind | 0x8000)), "{kind:04X}");
        }
        assert!(kinds.contains(&0x0FFF), "C-CANCEL-RQ");
        assert!(kinds.iter().any(|kind| kind & 0x0F00 == 0x0700), "an unknown one");
    }
}
