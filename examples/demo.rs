//! The relay at work, without an account: `cargo run --example demo`.
//!
//! A JoltSMS API is simulated on 127.0.0.1, with three messages of the last minute and about thirty new ones a minute.
//! The relay polls this API as it polls the real one. Messages go to stdout, and the log goes to stderr. Ctrl-C ends
//! the demo.
//!
//! With a URL, `cargo run --example demo -- http://127.0.0.1:8080/`, messages are posted to that URL instead.
//!
//! The state lies in a temporary directory, which is removed when the demo ends. Neither the environment nor a
//! configuration file is read. So no real key is sent to the simulator, and no simulated message to a real receiver.

use std::time::Duration;

use joltsms_relay::config::{self, Overrides, Sources};
use joltsms_relay::daemon::{self, Purpose, Surroundings, logging};
use joltsms_relay::ingest::Mode;
use joltsms_relay::secret::{Environment, Secret};
use joltsms_relay::time::Clock;
use joltsms_simulator::{Options, Simulator, Traffic};

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    // The account has two numbers, three messages that were there before, and a stream of new messages.
    let simulator = Simulator::start(Options {
        numbers: 2,
        messages: 3,
        history: Duration::from_secs(60),
        traffic: Traffic { per_minute: 30.0, ..Traffic::default() },
        ..Options::default()
    })
    .await?;

    let temporary = tempfile::Builder::new().prefix("joltsms-relay-demo-").tempdir()?;
    let environment = Environment::from([
        ("JOLTSMS_API_URL".into(), simulator.url().into()),
        ("JOLTSMS_API_KEY".into(), simulator.key().into()),
    ]);
    let flags = Overrides {
        state_dir: Some(temporary.path().join("state")),
        start: Some("1h".to_owned()),
        forward_to: std::env::args().nth(1).as_deref().map(Secret::from),
        ..Overrides::default()
    };
    let sources = Sources { etc: temporary.path().join("etc"), ..Sources::new(environment, flags) };
    let config = config::load(&sources)?;
    let _log = logging::start(&config.log, std::env::var_os("NO_COLOR").is_none(), false, None)?;

    tracing::info!(target: "joltsms_relay::demo", api = simulator.url(), "a simulated JoltSMS account; Ctrl-C ends it");

    // From here on the demo does what `joltsms-relay run` does.
    let signals = daemon::on_signals(Surroundings::default(), Clock::system(), |_| ())?;
    let purpose = Purpose { mode: Mode::Run, accept_account: false, shows_progress: false, boot_id: None };
    let daemon = daemon::build(&config, purpose, Clock::system()).await?;
    daemon.run(signals.stop, None).await?;

    simulator.shutdown().await;
    Ok(())
}
