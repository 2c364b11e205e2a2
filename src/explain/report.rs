//! An explanation: as text for a person at a terminal, as JSON for a machine.

use serde::Serialize;
use serde_json::json;

use crate::cache::Inspection;
use crate::check::report::{Finding, State, Step, write_line};
use crate::explain::outcome::Outcome;
use crate::explain::store_answer::Said;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;

/// A step of a check, with what else is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noted {
    #[serde(flatten)]
    pub step: Step,
    pub notes: Vec<String>,
}

impl From<Step> for Noted {
    fn from(step: Step) -> Self {
        Self { step, notes: Vec::new() }
    }
}

/// StoredContent becomes of one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The object, or what was asked for where it names none.
    name: String,
    steps: Vec<Noted>,
    pub(super) address: Option<ObjectAddress>,
    pub(super) kept: Option<Inspection>,
    pub(super) store: Option<Said>,
    outcome: Option<Outcome>,
}

impl Explanation {
    /// An explanation that begins with the steps of a check.
    pub(super) fn new(name: String, steps: Vec<Step>) -> Self {
        let steps = steps.into_iter().map(Noted::from).collect();
        Self { name, steps, address: None, kept: None, store: None, outcome: None }
    }

    /// The object, or what was asked for where it names none.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a client would get an object.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.served)
    }

    pub(super) fn step(&self, name: &str) -> Option<&Finding> {
        self.find(name).and_then(|at| Some(&self.steps.get(at)?.step.finding))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|noted| noted.step.name == name)
    }

    /// Adds a step before all others.
    pub(super) fn put_first(&mut self, step: Step) {
        self.steps.insert(0, step.into());
    }

    /// Adds steps behind the one of this name.
    pub(super) fn put_after(&mut self, name: &str, steps: Vec<Noted>) {
        let at = self.find(name).map_or(self.steps.len(), |at| at + 1);
        self.steps.splice(at..at, steps);
    }

    /// Puts a step in the place of the one of its name, else before the answer.
    pub(super) fn put(&mut self, noted: Noted) {
        match self.find(noted.step.name) {
            Some(at) => drop(self.steps.splice(at..=at, [noted])),
            None => {
                let at = self.find("answer").unwrap_or(self.steps.len());
                self.steps.insert(at, noted);
            }
        }
    }

    /// Adds to what is said of a step, if there is one of this name.
    pub(super) fn note(&mut self, name: &str, notes: Vec<String>) {
        if let Some(noted) = self.steps.iter_mut().find(|noted| noted.step.name == name) {
            noted.notes.extend(notes);
        }
    }

    /// Ends it; the last step is what a client gets.
    pub(super) fn conclude(&mut self, outcome: Outcome, notes: Vec<String>) {
        let step = Step::new("answer", outcome.finding.clone());
        self.put(Noted { step, notes });
        self.outcome = Some(outcome);
    }

    /// The step that stands in the way: the last that failed before the answer.
    fn reason(&self) -> Option<&Finding> {
        let answer = self.step("answer").filter(|finding| finding.fix.is_some());
        let others = self.steps.iter().filter(|noted| noted.step.name != "answer");
        let mut findings = others.map(|noted| &noted.step.finding);
        answer.or_else(|| findings.rfind(|finding| finding.state == State::Failed))
    }

    /// Lines for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        write_line(&mut out, &self.name);
        for Noted { step, notes } in &self.steps {
            step.write_finding(&mut out);
            for note in notes {
                write_line(&mut out, &format!("{:25}{note}", ""));
            }
            step.write_fix(&mut out);
        }
        out
    }

    /// `{"object", "served", "status", "cause", "from", "why", "fix", "address": {"profile", "bucket",
    /// "key"}, "kept": {"memory", "disk", "fetch_under_way"}, "store": {...}, "steps": [{"name",
    /// "state", "detail", "fix", "milliseconds", "notes"}]}`. Keys stay, and the values of `cause`,
    /// `from`, `state` and a step's `name`; `why`, `detail`, `fix` and `notes` are for people.
    #[must_use]
    pub fn to_json(&self) -> String {
        let outcome = self.outcome.as_ref();
        let reason = self.reason().filter(|_| !self.is_served());
        let document = json!({
            "object": self.name,
            "served": self.is_served(),
            "status": outcome.and_then(|outcome| outcome.status),
            "cause": outcome.and_then(|outcome| outcome.refusal.as_ref()).map(Refusal::cause),
            "from": outcome.and_then(|outcome| outcome.from),
            "why": reason.map(|reason| &reason.detail),
            "fix": reason.and_then(|reason| reason.fix.as_ref()),
            "address": self.address.as_ref().map(|address| json!({
                "profile": address.profile,
                "bucket": address.bucket,
                "key": address.key,
            })),
            "kept": self.kept,
            "store": self.store,
            "steps": self.steps,
        });
        format!("{document:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::outcome::of_no_object;

    fn explanation() -> Explanation {
        let failed = Finding::failed("there is no such profile", "correct the name");
        let steps = vec![
            Step::new("address", Finding::ok("profile hips")),
            Step::new("endpoint", failed),
            Step::new("answer", Finding::ok("to be replaced")),
        ];
        Explanation::new("s3://hips@bkt/k\u{1b}.png".to_owned(), steps)
    }

    #[test]
    fn the_text_has_a_line_for_each_step_and_each_note() {
        let mut explanation = explanation();
        explanation.note("address", vec!["decoded once: %20 (space)".to_owned()]);
        explanation.note("nowhere", vec!["lost".to_owned()]);
        explanation.put_after("address", vec![Step::new("cache", Finding::skipped("off")).into()]);
        explanation.put(Step::new("sent", Finding::ok("GET http://x/")).into());
        explanation.conclude(of_no_object(404), vec!["its body".to_owned()]);
        let pad = " ".repeat(25);
        assert_eq!(
            explanation.to_text(),
            format!(
                "s3://hips@bkt/k\\u{{1b}}.png\n\
                 \x20 ok       address       profile hips\n\
                 {pad}decoded once: %20 (space)\n\
                 \x20 skipped  cache         off\n\
                 \x20 FAILED   endpoint      there is no such profile\n\
                 {pad}fix: correct the name\n\
                 \x20 ok       sent          GET http://x/\n\
                 \x20 FAILED   answer        404, no object\n\
                 {pad}its body\n"
            )
        );
    }

    #[test]
    fn the_json_says_why_and_what_to_do() {
        let mut explanation = explanation();
        explanation.conclude(of_no_object(404), Vec::new());
        let json: serde_json::Value = serde_json::from_str(&explanation.to_json()).expect("JSON");
        assert_eq!(json["served"], false);
        assert_eq!((&json["status"], &json["from"]), (&404.into(), &"gateway".into()));
        assert_eq!(json["why"], "there is no such profile");
        assert_eq!(json["fix"], "correct the name");
        let names: Vec<_> = json["steps"].as_array().into_iter().flatten().collect();
        assert_eq!(names.len(), 3);
        assert_eq!(names[0]["notes"], serde_json::json!([]));
    }
}
