//! Traces a program: the tracer sees every system call that changes a file of the program or talks to a peer, in one
//! order over all threads, and kills the program at one of these calls.
//!
//! `strace -e inject=…:signal=SIGKILL:when=N` counts the calls of each thread separately, and signals only before a
//! call. The relay writes from half a dozen threads, so "the N-th call" would leave out most calls. This tracer uses
//! the same system call, `ptrace(2)`, with one count for the whole process and three ways to kill the process.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::relay::Setup;
use crate::support::relay::process::gather;

/// The moment of a call at which the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// The program is killed before the call, so the call is never made.
    Before,
    /// The program is killed after half of the bytes were written to the file.
    Half,
    /// The program is killed after the call, before it learns the result.
    After,
}

/// A system call that counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// The name of the call, as in `man 2`.
    pub(crate) name: &'static str,
    /// The path of a file below the watched directory, or the name of the peer at the other end of a connection.
    pub(crate) target: String,
}

/// The plan of a trace: which calls count, and at which call the program is killed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Calls on files below this directory count.
    pub(crate) directory: PathBuf,
    /// Calls on connections to these ports count. Each port has the name under which its calls are listed.
    pub(crate) peers: Vec<(u16, &'static str)>,
    /// Only calls on files and peers count whose names begin with one of these texts.
    pub(crate) targets: &'static [&'static str],
    /// Calls count only while this flag is set.
    pub(crate) counting: Arc<AtomicBool>,
    /// The point at which to kill the program, counted from 0. A call has one point for each moment at which the
    /// program can be killed. Without a point the calls are only counted.
    pub(crate) point: Option<usize>,
}

/// The observations of the tracer.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Every call that counted.
    pub(crate) calls: Vec<Call>,
    /// The number of points that these calls have together.
    pub(crate) points: usize,
    /// The call and the moment of the kill, if the program was killed.
    pub(crate) killed: Option<(Call, Moment)>,
    /// How the program ended.
    pub(crate) status: WaitStatus,
}

/// A program that is traced. The program is killed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Traced {
    pid: Pid,
    log: Arc<Mutex<String>>,
    thread: Option<JoinHandle<Ended>>,
}

/// A shell script that waits until it is traced, and then becomes the program.
const WAITING: &str = r#"kill -STOP $$; exec "$0" "$@""#;

impl Traced {
    /// Starts the program with this stdout.
    pub(crate) fn start(setup: &Setup, stdout: impl Into<Stdio>, plan: Plan) -> Self {
        let mut waiting = setup.behind(WAITING).into_command();
        waiting.stdout(stdout).stderr(Stdio::piped());
        let (sender, started) = channel();
        // Only the thread that started a process may trace it.
        #[expect(clippy::zombie_processes, reason = "`Watch::run` waits for it, and for its threads")]
        let thread = std::thread::spawn(move || {
            let mut child = waiting.spawn().unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let (log, reader) = gather(child.stderr.take().unwrap());
            sender.send((pid, log)).unwrap();
            let ended = Watch::new(pid, plan).run();
            reader.join().unwrap();
            ended
        });
        let (pid, log) = started.recv().unwrap();
        Self { pid, log, thread: Some(thread) }
    }

    /// Whether the program has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        // The program may have just died, so an error is ignored.
        kill(self.pid, Signal::SIGTERM).ok();
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for the end of the program. Returns the observations.
    pub(crate) fn join(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            kill(self.pid, Signal::SIGKILL).ok();
        }
    }
}

/// Returns the reason why no program can be traced here, if there is one.
pub(crate) fn is_refused() -> Option<String> {
    std::thread::spawn(|| {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let refused = ptrace::seize(pid, Options::empty()).err();
        child.kill().unwrap();
        child.wait().unwrap();
        refused.map(|error| format!("ptrace: {error}"))
    })
    .join()
    .unwrap()
}

/// How to find the file or the peer of a call.
enum Subject {
    /// The first argument is the descriptor. `writes`: the third argument is the number of bytes to write.
    Descriptor { writes: bool },
    /// The argument at this index is the path.
    Path(usize),
    /// The second argument is the path. The call counts only if it may make or cut the file.
    Opening,
    /// The first argument is the descriptor. The call counts once it has read something.
    Reading,
}

/// The calls that count, each with its number in the kernel and its name in `man 2`.
const CALLS: [(libc::c_long, &str, Subject); 20] = [
    (libc::SYS_write, "write", Subject::Descriptor { writes: true }),
    (libc::SYS_pwrite64, "pwrite64", Subject::Descriptor { writes: true }),
    (libc::SYS_writev, "writev", Subject::Descriptor { writes: false }),
    (libc::SYS_sendto, "sendto", Subject::Descriptor { writes: false }),
    (libc::SYS_sendmsg, "sendmsg", Subject::Descriptor { writes: false }),
    (libc::SYS_fsync, "fsync", Subject::Descriptor { writes: false }),
    (libc::SYS_fdatasync, "fdatasync", Subject::Descriptor { writes: false }),
    (libc::SYS_ftruncate, "ftruncate", Subject::Descriptor { writes: false }),
    (libc::SYS_fallocate, "fallocate", Subject::Descriptor { writes: false }),
    (libc::SYS_read, "read", Subject::Reading),
    (libc::SYS_recvfrom, "recvfrom", Subject::Reading),
    (libc::SYS_readv, "readv", Subject::Reading),
    (libc::SYS_openat, "openat", Subject::Opening),
    (libc::SYS_mkdir, "mkdir", Subject::Path(0)),
    (libc::SYS_unlink, "unlink", Subject::Path(0)),
    (libc::SYS_unlinkat, "unlinkat", Subject::Path(1)),
    (libc::SYS_rename, "rename", Subject::Path(0)),
    (libc::SYS_renameat, "renameat", Subject::Path(1)),
    (libc::SYS_renameat2, "renameat2", Subject::Path(1)),
    (libc::SYS_link, "link", Subject::Path(0)),
];

struct Watch {
    pid: Pid,
    plan: Plan,
    calls: Vec<Call>,
    points: usize,
    killed: Option<(Call, Moment)>,
    /// The name of the peer of each socket, by the inode of the socket.
    peers: HashMap<String, String>,
    /// The threads that are in a call. A value says how the program is to be killed at the end of the call.
    inside: HashMap<Pid, Option<(Call, Moment)>>,
}

impl Watch {
    fn new(pid: Pid, plan: Plan) -> Self {
        Self { pid, plan, calls: Vec::new(), points: 0, killed: None, peers: HashMap::new(), inside: HashMap::new() }
    }

    fn run(mut self) -> Ended {
        // Other tests of this process have child processes, too, so only this thread's children are waited for.
        let ours = WaitPidFlag::__WNOTHREAD | WaitPidFlag::__WALL;
        let stopped = waitpid(self.pid, Some(ours | WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(self.pid, Signal::SIGSTOP));
        let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.pid, options).unwrap();
        kill(self.pid, Signal::SIGCONT).unwrap();
        loop {
            // A thread that was just killed cannot be resumed.
            match waitpid(Pid::from_raw(-1), Some(ours)).unwrap() {
                status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) if pid == self.pid => {
                    return Ended { calls: self.calls, points: self.points, killed: self.killed, status };
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_call(thread);
                    ptrace::syscall(thread, None).ok();
                }
                WaitStatus::PtraceEvent(thread, _, _) => {
                    ptrace::syscall(thread, None).ok();
                }
                WaitStatus::Stopped(thread, signal) => {
                    ptrace::syscall(thread, signal).ok();
                }
                _ => {}
            }
        }
    }

    /// Handles a thread that enters a call, or comes back from one.
    fn at_call(&mut self, thread: Pid) {
        // The thread may have been killed meanwhile.
        let Ok(mut registers) = ptrace::getregs(thread) else { return };
        let arguments = [registers.rdi, registers.rsi, registers.rdx];
        let number = i64::try_from(registers.orig_rax).unwrap_or(-1);
        let Some((_, name, subject)) = CALLS.iter().find(|(call, _, _)| *call == number) else {
            if self.inside.remove(&thread).is_none() {
                self.inside.insert(thread, None);
            }
            return;
        };
        if let Some(dies) = self.inside.remove(&thread) {
            let read = matches!(subject, Subject::Reading) && registers.rax.cast_signed() > 0;
            let dies = dies.or_else(|| read.then(|| self.counts(thread, name, subject, arguments)).flatten());
            if let Some(here) = dies {
                self.kill(here);
            }
            return;
        }
        let counts = !matches!(subject, Subject::Reading);
        let dies = counts.then(|| self.counts(thread, name, subject, arguments)).flatten();
        match dies.clone() {
            Some(here @ (_, Moment::Before)) => {
                self.kill(here);
                return;
            }
            Some((_, Moment::Half)) => {
                registers.rdx /= 2;
                ptrace::setregs(thread, registers).unwrap();
            }
            Some((_, Moment::After)) | None => {}
        }
        self.inside.insert(thread, dies);
    }

    fn kill(&mut self, here: (Call, Moment)) {
        kill(self.pid, Signal::SIGKILL).unwrap();
        self.killed = Some(here);
    }

    /// Counts a call if it is a call that counts. Returns how to kill the program, if the program is to be killed at
    /// this call.
    fn counts(
        &mut self,
        thread: Pid,
        name: &'static str,
        subject: &Subject,
        arguments: [u64; 3],
    ) -> Option<(Call, Moment)> {
        if self.killed.is_some() || !self.plan.counting.load(Ordering::Relaxed) {
            return None;
        }
        let target = match *subject {
            Subject::Descriptor { .. } | Subject::Reading => self.descriptor(arguments[0])?,
            Subject::Path(place) => self.below(&path_at(thread, arguments[place])?)?,
            Subject::Opening => {
                let changes = arguments[2] & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0;
                self.below(&path_at(thread, arguments[1]).filter(|_| changes)?)?
            }
        };
        if !self.plan.targets.iter().any(|start| target.starts_with(start)) {
            return None;
        }
        let is_peer = self.plan.peers.iter().any(|(_, peer)| *peer == target);
        let moments: &[Moment] = match subject {
            Subject::Reading if !is_peer => return None,
            Subject::Reading => &[Moment::After],
            Subject::Descriptor { writes: true } if !is_peer && arguments[2] > 1 => {
                &[Moment::Before, Moment::Half, Moment::After]
            }
            _ => &[Moment::Before, Moment::After],
        };
        let first = self.points;
        let call = Call { name, target };
        self.calls.push(call.clone());
        self.points += moments.len();
        moments.get(self.plan.point?.checked_sub(first)?).map(|moment| (call, *moment))
    }

    /// Returns the file or the peer behind a descriptor.
    fn descriptor(&mut self, descriptor: u64) -> Option<String> {
        let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", self.pid)).ok()?;
        let link = link.to_str()?;
        match link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            Some(inode) => self.peer(inode),
            None => self.below(link),
        }
    }

    fn below(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.plan.directory.to_str()?)?;
        Some(below.trim_start_matches('/').to_owned())
    }

    fn peer(&mut self, inode: &str) -> Option<String> {
        if let Some(known) = self.peers.get(inode) {
            return Some(known.clone());
        }
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.pid)).ok()?;
        let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(inode))?;
        let (_, port) = line.split_whitespace().nth(2)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let (_, name) = self.plan.peers.iter().find(|(known, _)| *known == port)?;
        self.peers.insert(inode.to_owned(), (*name).to_owned());
        Some((*name).to_owned())
    }
}

/// Returns a text in the memory of the program.
fn path_at(thread: Pid, address: u64) -> Option<String> {
    let memory = fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = [0; 512];
    // The memory behind the text may not be readable.
    let read = (1..=bytes.len())
        .rev()
        .step_by(64)
        .find_map(|length| memory.read_at(&mut bytes[..length], address).ok().filter(|count| *count > 0))?;
    let end = bytes[..read].iter().position(|byte| *byte == 0)?;
    String::from_utf8(bytes[..end].to_vec()).ok()
}
