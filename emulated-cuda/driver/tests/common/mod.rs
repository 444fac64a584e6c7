// SPDX-License-Identifier: MPL-2.0
//! The driver's entries without pointers, and processes that play a part.
#![allow(unsafe_code, reason = "calls of a C ABI with pointers to locals")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use emulated_cuda::*;

pub const INVALID_VALUE: u32 = 1;
pub const OUT_OF_MEMORY: u32 = 2;
pub const NOT_INITIALIZED: u32 = 3;
pub const INVALID_CONTEXT: u32 = 201;
pub const INVALID_HANDLE: u32 = 400;
pub const NOT_FOUND: u32 = 500;
pub const NOT_READY: u32 = 600;

/// Calls an entry.
#[macro_export]
macro_rules! cu {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        #[allow(clippy::macro_metavars_in_unsafe, reason = "arguments are plain values")]
        // SAFETY: pointers among the arguments are those of locals that are long enough.
        let code = unsafe { emulated_cuda::$name($($argument),*) };
        code
    }};
}

/// Calls an entry that must succeed.
#[macro_export]
macro_rules! ok {
    ($name:ident($($argument:expr),* $(,)?)) => {
        assert_eq!($crate::cu!($name($($argument),*)), 0, stringify!($name))
    };
}

/// Calls an entry that gives something back through its first argument.
#[macro_export]
macro_rules! made {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        let mut made = Default::default();
        $crate::ok!($name(&raw mut made, $($argument),*));
        made
    }};
}

pub fn init() {
    ok!(cuInit(0));
}

/// A context of one test, current on its thread.
pub struct Context(pub Handle);

pub fn context() -> Context {
    init();
    Context(made!(cuCtxCreate_v2(0, 0)))
}

impl Drop for Context {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            ok!(cuCtxDestroy_v2(self.0));
        }
    }
}

pub fn memory(len: usize) -> DevicePointer {
    made!(cuMemAlloc_v2(len))
}

/// Memory that holds these bytes.
pub fn memory_of(bytes: &[u8]) -> DevicePointer {
    let pointer = memory(bytes.len());
    ok!(cuMemcpyHtoD_v2(pointer, bytes.as_ptr() as usize, bytes.len()));
    pointer
}

pub fn read(pointer: DevicePointer, len: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; len];
    ok!(cuMemcpyDtoH_v2(bytes.as_mut_ptr() as usize, pointer, len));
    bytes
}

/// A stream that nothing orders but itself.
pub fn stream() -> Handle {
    made!(cuStreamCreate(1))
}

/// Pinned host memory, which lives until its context goes.
pub fn pinned(len: usize) -> &'static mut [u8] {
    let start: usize = made!(cuMemHostAlloc(len, 0));
    // SAFETY: the driver has just given so many bytes, which nobody else uses.
    unsafe { std::slice::from_raw_parts_mut(start as *mut u8, len) }
}

#[allow(clippy::disallowed_methods, reason = "a child is told its part")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

const PART: &str = "TEST_PART";

/// The part that this process shall play, if it is a child.
pub fn part() -> Option<String> {
    variable(PART)
}

/// A process of this test program that plays a part: an ignored test named `child` looks at [`part`].
pub struct Player {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Player {
    pub fn start(part: &str, orders: &[(&str, &str)]) -> Player {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(PART, part).envs(orders.iter().map(|(name, value)| (format!("EMULATED_CUDA_{name}"), value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Player { child, input, output }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next line that the part printed, without what the test harness prints.
    pub fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child has ended");
            // The harness begins a line before the part does.
            if let Some((_, said)) = line.trim_end().split_once("> ") {
                return said.to_owned();
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> ExitStatus {
        drop(self.input);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("the child does not end");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn succeed(self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }
}

/// Prints a line for the parent.
pub fn tell(line: &str) {
    println!("> {line}");
}

/// The next line of the parent.
pub fn told() -> String {
    let mut line = String::new();
    assert_ne!(std::io::stdin().read_line(&mut line).unwrap(), 0, "the parent has ended");
    line.trim_end().to_owned()
}

pub fn to_hex(handle: &IpcHandle) -> String {
    handle.reserved.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn of_hex(text: &str) -> IpcHandle {
    let mut reserved = [0; 64];
    for (at, byte) in reserved.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    }
    IpcHandle { reserved }
}

pub fn share_memory(pointer: DevicePointer) -> IpcHandle {
    let mut handle = IpcHandle { reserved: [0; 64] };
    ok!(cuIpcGetMemHandle(&raw mut handle, pointer));
    handle
}

pub fn share_event(event: Handle) -> IpcHandle {
    let mut handle = IpcHandle { reserved: [0; 64] };
    ok!(cuIpcGetEventHandle(&raw mut handle, event));
    handle
}

/// Opens memory; the code when it does not open.
pub fn open_memory(handle: IpcHandle) -> Result<DevicePointer, u32> {
    let mut pointer = 0;
    match cu!(cuIpcOpenMemHandle_v2(&raw mut pointer, handle, 1)) {
        0 => Ok(pointer),
        code => Err(code),
    }
}

/// An event for other processes.
pub fn shared_event() -> Handle {
    made!(cuEventCreate(6))
}

/// The library as programs load it, which cargo builds beside the tests.
pub fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libemulated_cuda.so")
}

/// A file of this test, which does not exist yet.
pub fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("emulated-cuda-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Waits for something that must come.
pub fn until(what: &str, mut here: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !here() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
