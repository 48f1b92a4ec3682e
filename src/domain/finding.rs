//! What a check of the surroundings found out.

/// One result of `check --online`, for people. No text of a finding holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried: one or two words.
    pub subject: String,
    /// The verdict.
    pub verdict: CheckVerdict,
    /// What was found, in words.
    pub detail: String,
}

/// The verdict of a [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// It works.
    Works,
    /// It works, but may not be what the operator means; with a remedy.
    Doubtful(String),
    /// It does not work; with a remedy.
    Fails(String),
    /// It could not be tried, or there is nothing to try.
    NotTried,
}

impl Finding {
    /// Something works.
    pub fn works(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::Works, detail: detail.into() }
    }

    /// Something works, and may not be meant.
    pub fn doubtful(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let verdict = CheckVerdict::Doubtful(remedy.into());
        Self { subject: subject.into(), verdict, detail: detail.into() }
    }

    /// Something does not work.
    pub fn fails(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::Fails(remedy.into()), detail: detail.into() }
    }

    /// Something was not tried.
    pub fn not_tried(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::NotTried, detail: detail.into() }
    }
}
