//! Records after the handshake, as a peer may send them: the state machine answers each within its rules, and the same
//! however handshake messages are cut.

use ktls_record::content_type::{APPLICATION_DATA, HANDSHAKE};
use ktls_record::control::{Action, Control, Refusal, Settings, Side, State};
use ktls_record::{Version, alert};

/// Not content types: what this side does between records.
const KEY_UPDATE_SENT: u8 = 0;
const CERTIFICATE_REQUESTED: u8 = 1;

/// Header and body of the longest message that is kept.
const LONGEST_MESSAGE: usize = 4 + 131_338;

/// The first byte chooses the settings; then come records of a type, a length byte and a payload.
pub fn control(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else {
        return;
    };
    let settings = settings(choice);
    let (mut whole, mut cut) = (Control::new(settings), Control::new(settings));
    let mut answer_due = false;
    while let Some((&[kind, len], tail)) = rest.split_first_chunk() {
        let (payload, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        match kind {
            KEY_UPDATE_SENT => {
                whole.key_update_sent();
                cut.key_update_sent();
                answer_due = false;
                continue;
            }
            CERTIFICATE_REQUESTED => {
                whole.certificate_requested();
                cut.certificate_requested();
                continue;
            }
            _ => {}
        }
        let before = whole.state();
        let mut actions = Vec::new();
        let taken = whole.record(kind, payload, &mut actions);
        check(settings, kind, before, &whole, &actions, taken);
        for action in &actions {
            if *action == Action::SendKeyUpdate {
                assert!(!answer_due, "two answers to one batch of requests");
                answer_due = true;
            }
        }

        let mut in_parts = Vec::new();
        let taken_in_parts = if kind == HANDSHAKE && !payload.is_empty() {
            let mut parts = payload.chunks(1);
            parts.try_for_each(|part| cut.record(kind, part, &mut in_parts))
        } else {
            cut.record(kind, payload, &mut in_parts)
        };
        if taken != taken_in_parts {
            // Only where a record ends after a KeyUpdate tells them apart.
            let refusal = taken.expect_err("only the whole record can be refused");
            assert_eq!(refusal.alert, alert::UNEXPECTED_MESSAGE);
            assert!(in_parts.contains(&Action::NextReadKeys));
            return;
        }
        assert_eq!(actions, in_parts);
        assert_eq!(whole.state(), cut.state());
    }
}

fn settings(choice: u8) -> Settings {
    let versions = [
        Version::Tls13,
        Version::Tls12,
        Version::Tls11,
        Version::Tls10,
    ];
    Settings {
        version: versions[usize::from(choice & 3)],
        side: if choice & 4 == 0 {
            Side::Client
        } else {
            Side::Server
        },
        keeps_tickets: choice & 8 == 0,
        offered_post_handshake_auth: choice & 16 == 0,
    }
}

fn check(
    settings: Settings,
    content_type: u8,
    before: State,
    control: &Control,
    actions: &[Action],
    taken: Result<(), Refusal>,
) {
    if before != State::Open {
        assert_eq!((taken, actions, control.state()), (Ok(()), &[][..], before));
        return;
    }
    let is_tls13 = settings.version == Version::Tls13;
    let mut state = State::Open;
    for action in actions {
        assert_eq!(state, State::Open, "an action after the end");
        match action {
            Action::Deliver => assert_eq!(content_type, APPLICATION_DATA),
            Action::NextReadKeys | Action::SendKeyUpdate => assert!(is_tls13),
            Action::Message(message) => {
                assert!(is_tls13);
                assert!((4..=LONGEST_MESSAGE).contains(&message.len()));
                let body = u32::from_be_bytes([0, message[1], message[2], message[3]]);
                assert_eq!(message.len(), 4 + body as usize);
                let expected: &[u8] = match settings.side {
                    Side::Client => &[4, 13],
                    Side::Server => &[11, 15, 20],
                };
                assert!(expected.contains(&message[0]));
            }
            Action::SendAlert { level, description } => {
                assert!(!is_tls13);
                assert_eq!(
                    (*level, *description),
                    (alert::WARNING, alert::NO_RENEGOTIATION)
                );
            }
            Action::CloseNotify => state = State::Closed,
            Action::FatalAlert { .. } => state = State::Failed,
        }
    }
    if let Err(refusal) = taken {
        assert_eq!(state, State::Open);
        assert!(matches!(
            refusal.alert,
            alert::UNEXPECTED_MESSAGE | alert::ILLEGAL_PARAMETER | alert::DECODE_ERROR
        ));
        state = State::Failed;
    }
    assert_eq!(control.state(), state);
}
