//! Sinks of type `telegram`: messages to a chat, through Telegram's Bot API.
//!
//! The requests have no `parse_mode`, so Telegram takes no part of a message for markup. It shows no previews of links.

mod answer;
mod settings;

use std::sync::Arc;

use super::{ReadContext, SinkType, Target};
use crate::settings::{DeclaredKey, Reader, Settings as _};

/// The type `telegram`.
#[derive(Debug)]
pub(super) struct Telegram;

impl SinkType for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn keys(&self) -> Vec<DeclaredKey> {
        settings::Settings::keys()
    }

    fn read(&self, at: &mut Reader<'_>, context: ReadContext<'_>) -> Option<Arc<dyn Target>> {
        Some(Arc::new(settings::Settings::read(at).resolve(at, context.is_meant)?))
    }
}
