//! A write that goes on until everything is accepted.

use std::sync::Arc;

use ktls_engine::{Data, Error, Manner, Owner, Patience, Stream as Engine};

/// Goes on until everything is accepted.
pub(crate) fn send_all(
    engine: &Arc<Engine>,
    data: &Data<'_>,
    manner: Manner,
    patience: &mut Patience<'_>,
) -> Result<(), Error> {
    let len = data.as_slice().len();
    let mut sent = engine.send(data, manner, patience)?;
    while sent < len {
        // A wait that a signal handler ended returns what was accepted before.
        if (patience.interrupted)() {
            break;
        }
        let rest = match data {
            Data::Borrowed(bytes) => Data::Borrowed(&bytes[sent..]),
            Data::Shared(owner) => Data::Shared(Arc::new(Tail(Arc::clone(owner), sent))),
        };
        sent += engine.send(&rest, manner, patience)?;
    }
    Ok(())
}

/// The rest of somebody's bytes.
struct Tail(Owner, usize);

impl AsRef<[u8]> for Tail {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref().get(self.1..).unwrap_or_default()
    }
}
