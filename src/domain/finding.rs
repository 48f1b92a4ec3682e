//! The results of `check --online`.

/// One result of `check --online`, for people. No text of a finding holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the thing that was tried: one or two words.
    pub subject: String,
    /// The verdict.
    pub verdict: CheckVerdict,
    /// The result, in words.
    pub detail: String,
}

/// The verdict of a [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// The thing works.
    Works,
    /// The thing works, but may not be what the operator wants. The text is a remedy.
    Doubtful(String),
    /// The thing does not work. The text is a remedy.
    Fails(String),
    /// The thing could not be tried, or there is nothing to try.
    NotTried,
}

impl Finding {
    /// Makes the finding that something works.
    pub fn works(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::Works, detail: detail.into() }
    }

    /// Makes the finding that something works, but may not be what the operator wants.
    pub fn doubtful(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let verdict = CheckVerdict::Doubtful(remedy.into());
        Self { subject: subject.into(), verdict, detail: detail.into() }
    }

    /// Makes the finding that something does not work.
    pub fn fails(subject: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::Fails(remedy.into()), detail: detail.into() }
    }

    /// Makes the finding that something was not tried.
    pub fn not_tried(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: CheckVerdict::NotTried, detail: detail.into() }
    }
}
