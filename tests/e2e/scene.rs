//! A store whose answers the test changes while the gateway runs.

use std::sync::{Arc, Mutex, PoisonError};

use crate::faulty::{self, Faulty, Recorded, Step};

type Script = Arc<dyn Fn(&Recorded) -> Vec<Step> + Send + Sync>;

/// A running store and its current behaviour.
pub(crate) struct Scene {
    script: Arc<Mutex<Script>>,
    pub(crate) store: Faulty,
}

impl Scene {
    /// Takes these steps for every request, until [`Scene::now`].
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let script: Script = Arc::new(move |_| steps.clone());
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        let store = Faulty::scripted(move |request, _| {
            let script = Arc::clone(&shared.lock().unwrap_or_else(PoisonError::into_inner));
            script(request)
        });
        Self { script, store }
    }

    /// Takes these steps from now on.
    pub(crate) fn now(&self, steps: Vec<Step>) {
        self.now_by(move |_| steps.clone());
    }

    /// Runs this script from now on.
    pub(crate) fn now_by(&self, script: impl Fn(&Recorded) -> Vec<Step> + Send + Sync + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    pub(crate) fn url(&self) -> String {
        self.store.url()
    }

    pub(crate) fn count(&self) -> usize {
        self.store.count()
    }

    /// The last request received.
    pub(crate) fn last(&self) -> Recorded {
        self.store.requests().pop().expect("a request came")
    }
}

/// A PNG tile with these headers and no others.
pub(crate) fn tile(body: &str, headers: &[(&str, &str)]) -> Vec<Step> {
    faulty::answer(200, headers, body.as_bytes())
}

/// 304 with these headers and no others.
pub(crate) fn not_modified(headers: &[(&str, &str)]) -> Vec<Step> {
    vec![faulty::head(304, headers)]
}
