//! `s3proxy status` and `s3proxy purge`: commands for running processes, through their admin listeners.

use std::time::Duration;

use crate::admin::purge as admin_purge;
use crate::admin::replicas::{Replica, for_each};
use crate::admin::request::send_path;
use crate::admin::status::text::{ReplicaStatus, json, text};
use crate::cli::options::{PurgeOptions, StatusOptions};
use crate::cli::{BAD_CONFIGURATION, FAILED, SUCCESS, print, print_error};
use crate::terminal::{Paint, escaped};

/// The time between two updates of `--watch`, that of the samples.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Clears a terminal and moves the cursor to its first line (ECMA-48).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Shows the status of each process; `own` is that of the configuration, if the command line names none.
/// The exit code says whether every one answered. With `--watch` names are resolved each time: replicas
/// come and go.
pub(super) fn status(options: &StatusOptions, own: Option<&Replica>, paint: Paint) -> u8 {
    let tls = match options.tls.read() {
        Ok(tls) => tls,
        Err(error) => return unusable(&error),
    };
    loop {
        let replicas = options.replicas(own).and_then(|found| tls.with_all(found));
        let replicas = match replicas {
            Ok(replicas) => replicas,
            Err(error) if options.watch => {
                unresolved(&error);
                std::thread::sleep(WATCH_INTERVAL);
                continue;
            }
            Err(error) => return unresolved(&error),
        };
        let answers = for_each(&replicas, |replica| ReplicaStatus {
            label: replica.label.clone(),
            status: ask(replica),
        });
        let code = if answers.iter().all(|it| it.status.is_ok()) { SUCCESS } else { FAILED };
        let lines = match options.json {
            true => json(&answers),
            false => text(&answers, options.is_everywhere(), paint),
        };
        if !options.watch {
            print(&lines);
            return code;
        }
        let is_screen = paint == Paint::Colour && !options.json;
        let before = if is_screen { CLEAR } else { "" };
        let after = if is_screen || options.json { "" } else { "\n" };
        if !print(&format!("{before}{lines}{after}")) {
            // The reader of the pipe has left.
            return code;
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn ask(replica: &Replica) -> Result<serde_json::Value, String> {
    let answer = send_path(replica, "GET", "/status");
    let (status, body) = answer.map_err(|error| format!("no answer: {error}"))?;
    match serde_json::from_str(&body) {
        Ok(document) if status == "200" => Ok(document),
        _ if status == "200" => Err("not an answer of s3proxy".to_owned()),
        _ => Err(format!("answer {status}: {body}")),
    }
}

/// Purges each target in each process, and says of each what was removed.
pub(super) fn purge(options: &PurgeOptions, own: Option<&Replica>) -> u8 {
    let targets: Vec<String> =
        options.targets.iter().map(|it| admin_purge::target_of(it)).collect();
    let names_object = |target: &String| target.contains('/') && !target.contains("://");
    if let Some(target) = targets.iter().find(|target| !names_object(target)) {
        print_error(&format!("s3proxy: {target}: {}\n", admin_purge::TARGET));
        return BAD_CONFIGURATION;
    }
    let tls = match options.tls.read() {
        Ok(tls) => tls,
        Err(error) => return unusable(&error),
    };
    let replicas = match options.replicas(own).and_then(|found| tls.with_all(found)) {
        Ok(replicas) => replicas,
        Err(error) => return unresolved(&error),
    };
    let answers = for_each(&replicas, |replica| {
        targets.iter().map(|target| admin_purge::purge(replica, target)).collect::<Vec<_>>()
    });
    let mut failed = 0;
    for (replica, answers) in replicas.iter().zip(&answers) {
        let label = escaped(&replica.label);
        for (target, answer) in targets.iter().zip(answers) {
            match answer {
                Ok(answer) if options.is_everywhere() => {
                    print(&format!("{label}: {}\n", admin_purge::removed(answer)));
                }
                Ok(answer) => {
                    print(&format!("{answer}\n"));
                }
                Err(error) if options.is_everywhere() => {
                    print_error(&format!("s3proxy: {label}: {}\n", escaped(error)));
                }
                Err(error) => print_error(&format!("s3proxy: {}\n", escaped(error))),
            }
            if let Some(why) = answer.as_ref().ok().and_then(|it| admin_purge::not_obeyed(it)) {
                let target = escaped(target);
                print_error(&format!("s3proxy: {label}: {target}: {}\n", escaped(&why)));
            }
        }
        let is_failure = |answer: &Result<String, String>| match answer {
            Ok(answer) => admin_purge::not_obeyed(answer).is_some(),
            Err(_) => true,
        };
        failed += usize::from(answers.iter().any(is_failure));
    }
    if options.is_everywhere() {
        let (all, purged) = (replicas.len(), replicas.len() - failed);
        print(&format!("purged in {purged} of {all} replicas\n"));
    }
    if failed == 0 { SUCCESS } else { FAILED }
}

/// For a file that an option names.
pub(super) fn unusable(error: &str) -> u8 {
    print_error(&format!("s3proxy: {}\n", escaped(error)));
    BAD_CONFIGURATION
}

fn unresolved(error: &str) -> u8 {
    print_error(&format!("s3proxy: {}\n", escaped(error)));
    FAILED
}
