//! Sinks of type `ntfy`: notifications to phones and desktops, through ntfy.sh or the operator's own server.
//!
//! The topic may be a secret. So it is sent in the body of the request, and not in the URL.

mod settings;

use std::sync::Arc;

use super::{ReadContext, SinkType, Target};
use crate::settings::{DeclaredKey, Reader, Settings as _};

/// The type `ntfy`.
#[derive(Debug)]
pub(super) struct Ntfy;

impl SinkType for Ntfy {
    fn name(&self) -> &'static str {
        "ntfy"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context.is_meant)?))
    }
}
