//! Sinks of type `apprise`: notifications through an Apprise API server, which passes them on to the services that are
//! configured there.

mod answer;
mod settings;

use std::sync::Arc;

use super::{ReadContext, SinkType, Target};
use crate::settings::{DeclaredKey, Reader, Settings as _};

/// The type `apprise`.
#[derive(Debug)]
pub(super) struct Apprise;

impl SinkType for Apprise {
    fn name(&self) -> &'static str {
        "apprise"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context.is_meant)?))
    }
}
