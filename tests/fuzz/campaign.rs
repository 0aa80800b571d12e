//! One target's run: the corpus, then its bombs, then mutations; each input within the bounds.

use std::cell::RefCell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::MEMORY;
use crate::mutator::{Mutator, bombs};
use crate::targets::Target;

/// What one input may take at most, besides the copy of it that is sent.
const MEMORY_BOUND: usize = 16 << 20;
/// What an input may take of a processor's time in the build of the long run.
const TIME_BOUND: Duration = Duration::from_secs(1);
/// Whether this is that build: one that is not optimised takes many times as long.
const IS_OPTIMISED: bool = !cfg!(debug_assertions);
/// What no input takes, however slow the machine: a parser whose steps grow with the square of its input needs minutes.
const DEADLINE: Duration = Duration::from_secs(60);
/// The seed of the short run.
const SEED: u64 = 0x5EED;
/// Inputs of one round of the long run.
const ROUND: u64 = 100;
/// Bombs that the short run sets off; the long run takes all of them.
const BOMBS: usize = 5;

/// Memory is counted for the whole process, so targets take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The folders of `corpus/`, in order.
pub fn corpora() -> Vec<String> {
    let entries = fs::read_dir(corpus()).expect("the corpus");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs `target`; the short run makes `inputs` mutations. No input has more than `largest` bytes.
pub fn run(name: &'static str, target: Target, inputs: u64, largest: usize) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let current = Arc::new(Mutex::new(Vec::new()));
    let (says, hears) = mpsc::channel();
    let worker = std::thread::spawn({
        let current = current.clone();
        move || Worker { name, target, largest, current, says, slowest: RefCell::default() }.run(inputs)
    });
    loop {
        match hears.recv_timeout(DEADLINE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let input = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
                panic!("{name}: an input takes more than {} s; {}", DEADLINE.as_secs(), keep(name, &input));
            }
        }
    }
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

struct Worker {
    name: &'static str,
    target: Target,
    largest: usize,
    current: Arc<Mutex<Vec<u8>>>,
    says: mpsc::Sender<()>,
    /// What the slowest input took, and which it was.
    slowest: RefCell<(Duration, String)>,
}

impl Worker {
    fn run(&self, inputs: u64) {
        if let Ok(file) = std::env::var("FUZZ_INPUT") {
            let input = fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
            return self.feed(&input, "the given input");
        }
        let corpus = self.corpus();
        let seed = setting("FUZZ_SEED").unwrap_or(SEED);
        let seconds = setting("FUZZ_SECONDS");
        for (file, input) in &corpus {
            self.feed(input, file);
        }
        let all: Vec<(usize, usize)> = (0..corpus.len())
            .flat_map(|file| (0..bombs(&corpus[file].1).len()).map(move |bomb| (file, bomb)))
            .collect();
        let chosen = if seconds.is_some() { all } else { Mutator::new(seed, self.name).some(all, BOMBS) };
        for (file, bomb) in chosen {
            let (name, input) = &corpus[file];
            let bomb = &bombs(input)[bomb];
            self.feed(&bomb.made_of(input, self.largest), &format!("{name}, {}", bomb.what));
        }
        let inputs_of_corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
        match seconds {
            None => self.round(&inputs_of_corpus, seed, inputs),
            Some(seconds) => {
                let end = Instant::now() + Duration::from_secs(seconds);
                let mut rounds = 0;
                while Instant::now() < end {
                    self.round(&inputs_of_corpus, seed + rounds, ROUND);
                    rounds += 1;
                }
                let (name, last) = (self.name, seed + rounds.max(1) - 1);
                let (slowest, which) = &*self.slowest.borrow();
                let inputs = rounds * ROUND;
                println!("{name}: {inputs} inputs, seeds {seed} to {last}, the slowest took {slowest:.0?} ({which:?})");
            }
        }
    }

    fn corpus(&self) -> Vec<(String, Vec<u8>)> {
        let folder = corpus().join(self.name);
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
            .into_iter()
            .map(|file| {
                (file.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(&file).expect("a file"))
            })
            .collect()
    }

    fn round(&self, corpus: &[Vec<u8>], seed: u64, inputs: u64) {
        let mut mutator = Mutator::new(seed, self.name);
        for number in 0..inputs {
            let input = mutator.input(corpus, self.largest);
            self.feed(&input, &format!("seed {seed}, input {number}"));
        }
    }

    /// Feeds one input and judges what it cost.
    fn feed(&self, input: &[u8], what: &str) {
        input.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let began = processor_time();
        let result = catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        let took = processor_time().saturating_sub(began);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        if result.is_err() {
            panic!("{}: panics ({what}); {}", self.name, keep(self.name, input));
        }
        assert!(
            !IS_OPTIMISED || took <= TIME_BOUND,
            "{}: takes {took:.1?} ({what}); {}",
            self.name,
            keep(self.name, input)
        );
        if took > self.slowest.borrow().0 {
            self.slowest.replace((took, what.to_owned()));
        }
        assert!(
            taken <= MEMORY_BOUND + input.len(),
            "{}: takes {} KiB for {} KiB ({what}); {}",
            self.name,
            taken >> 10,
            input.len() >> 10,
            keep(self.name, input)
        );
        // The other end is gone only when the test has failed already.
        let _ = self.says.send(());
    }
}

/// The processor's time that this thread has had, on which all of a target's work is done: what else the machine does is
/// no fault of an input. One that waits without working is found by [`DEADLINE`].
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Keeps an input that was found and says how to run it again.
fn keep(name: &str, input: &[u8]) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    match fs::write(&file, input) {
        Ok(()) => format!("run it again with FUZZ_INPUT={} cargo test --test fuzz", file.display()),
        Err(error) => format!("it cannot be kept: {error}"),
    }
}
