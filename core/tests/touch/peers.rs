// SPDX-License-Identifier: MPL-2.0
//! Other processes, and how they die.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use super::*;

/// This test program, started again to do one thing and then stand still until it is killed.
fn other_process(what: &str, names: &Names) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peers::other", "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{what} {}", names.0.typed()).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("ready")), "the other process says that it is ready");
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "the other process of the tests here; they start it"]
fn other() {
    let mut orders = String::new();
    std::io::stdin().read_line(&mut orders).unwrap();
    let Some((what, name)) = orders.trim_end().split_once(' ') else { return };
    let names = std::mem::ManuallyDrop::new(Names(TouchNames::new(name).unwrap()));
    let desc = bgra(64, 64);
    let wait = || {
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    };
    match what {
        "send" => {
            let mut producer = names.produce(desc);
            producer.write(&filled(&desc, 1), desc.row_bytes()).unwrap();
            wait();
        }
        "lock" => {
            let mut mutex = names.mutex();
            let _held = mutex.lock(PATIENCE).unwrap().unwrap();
            wait();
        }
        _ => panic!("{orders:?}"),
    }
}

#[test]
fn a_lock_that_a_killed_process_held_is_had_and_told_to_be_abandoned() {
    let names = Names::new();
    let mut mutex = names.mutex();
    let holder = other_process("lock", &names);
    assert!(mutex.lock(Duration::from_millis(30)).unwrap().is_none(), "the other process has it");
    kill(holder);
    let held = mutex.lock(PATIENCE).unwrap().expect("the system gives it back");
    assert!(held.was_abandoned());
    drop(held);
    assert!(!mutex.lock(PATIENCE).unwrap().unwrap().was_abandoned(), "told once");
}

#[test]
fn what_a_killed_sender_left_is_nobodys_when_its_receiver_lets_go() {
    let names = Names::new();
    let sender = other_process("send", &names);
    let mut consumer = names.attach();
    assert_eq!(read_byte(&mut consumer).unwrap(), (NEW, Some(1)));
    kill(sender);
    let why = poll("the receiver finds out", || match consumer.standing().unwrap() {
        tdlink_core::protocol::touch::Standing::Ended(why) => Some(why),
        _ => None,
    });
    assert!(why.contains("has gone"), "{why}");
    drop(consumer);
    let desc = bgra(8, 8);
    let began = Instant::now();
    let mut next = names.produce(desc);
    assert!(began.elapsed() < Duration::from_secs(2));
    next.write(&filled(&desc, 2), desc.row_bytes()).unwrap();
    assert_eq!(read_byte(&mut names.attach()).unwrap(), (NEW, Some(2)));
}

#[test]
fn two_receivers_of_a_killed_sender_do_not_keep_it_alive_for_each_other() {
    use tdlink_core::protocol::touch::Standing;
    let names = Names::new();
    let sender = other_process("send", &names);
    let mut first = names.attach();
    read_byte(&mut first).unwrap();
    let since = Instant::now();
    poll("the second comes later", || (since.elapsed() > Duration::from_millis(700)).then_some(()));
    let mut second = names.attach();
    read_byte(&mut second).unwrap();
    kill(sender);
    let killed = Instant::now();
    let mut gone = [false; 2];
    poll("both find out", || {
        for (gone, consumer) in gone.iter_mut().zip([&mut first, &mut second]) {
            *gone |= !*gone && matches!(consumer.standing().unwrap(), Standing::Ended(why) if why.contains("has gone"));
        }
        (gone == [true; 2]).then_some(())
    });
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

#[test]
fn a_killed_sender_without_receivers_is_no_obstacle() {
    let names = Names::new();
    kill(other_process("send", &names));
    let desc = bgra(8, 8);
    names.produce(desc);
}
