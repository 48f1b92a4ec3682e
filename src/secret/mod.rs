//! Values that never show themselves. (Being written by the config part.)

pub use secrecy::SecretString as Secret;
