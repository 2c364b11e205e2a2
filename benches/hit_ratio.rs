//! The share of requests and bytes answered by the memory tier, compared with a plain LRU of the
//! same capacity: for popular tiles (Zipf), during and after a scan of twice the capacity, and
//! among large objects that are read once. Run `cargo bench --profile dev --bench hit_ratio`; the
//! profile changes its speed, not its numbers.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has to stop")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use pingora::http::ResponseHeader;
use s3proxy::cache::entry::{Entry, EntryContent};
use s3proxy::cache::freshness::Freshness;
use s3proxy::cache::key::CacheKey;
use s3proxy::cache::memory::budget::Budget;
use s3proxy::cache::memory::tier::MemoryTier;
use s3proxy::cache::object::Object;
use s3proxy::cache::statistics::Statistics;

const TILES: usize = 50_000;
const MIB: u64 = 1024 * 1024;
/// Every body is a slice of this.
static BYTES: [u8; 16 << 20] = [0; 16 << 20];

fn entry(key: &str, size: usize) -> Arc<Entry> {
    let head = ResponseHeader::build(StatusCode::OK, None).expect("a head");
    let body = Bytes::from_static(&BYTES).slice(..size);
    let held = Budget::new(u64::MAX).take(size as u64).expect("room");
    Arc::new(Entry {
        key: CacheKey::from_bytes(key.as_bytes()),
        requested_at: SystemTime::UNIX_EPOCH,
        settings: None,
        freshness: Freshness::for_a_while(SystemTime::UNIX_EPOCH, Duration::ZERO),
        pin: None,
        content: EntryContent::Object(Arc::new(Object::new(&head, body, held))),
    })
}

/// Log-normal around 100 kB, between 4 kB and 1.1 MB.
fn tile_size(random: &mut fastrand::Rng) -> usize {
    let (a, b) = (1.0 - random.f64(), random.f64());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    let size = (100_000_f64 * (0.9 * normal).exp()).clamp(4e3, 1.1e6) as usize;
    size
}

/// Tiles, the most popular first, with their cumulative popularity.
struct Sky {
    tiles: Vec<Arc<Entry>>,
    cumulated: Vec<f64>,
}

impl Sky {
    fn new(alpha: f64) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let tiles = (0..TILES).map(|n| entry(&format!("tile/{n}"), tile_size(&mut random)));
        let mut sum = 0.0;
        let cumulated = (1..=TILES).map(|rank| {
            sum += (rank as f64).powf(-alpha);
            sum
        });
        Self { tiles: tiles.collect(), cumulated: cumulated.collect() }
    }

    fn bytes(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.weight()).sum()
    }

    fn pick(&self, random: &mut fastrand::Rng) -> Option<&Arc<Entry>> {
        let at = random.f64() * self.cumulated.last()?;
        self.tiles.get(self.cumulated.partition_point(|sum| *sum < at))
    }
}

/// Answers from the cache, or fills it.
trait Cache {
    /// Returns whether it was a hit.
    fn ask(&mut self, entry: &Arc<Entry>) -> bool;
}

impl Cache for MemoryTier {
    fn ask(&mut self, entry: &Arc<Entry>) -> bool {
        let hit = self.get(entry.key.as_bytes()).is_some();
        if !hit {
            self.insert(Arc::clone(entry));
        }
        assert!(self.bytes() <= self.capacity(), "the bound holds");
        hit
    }
}

/// The least recently used object is evicted first.
struct PlainLru {
    last_asked: HashMap<CacheKey, (u64, u64)>,
    order: BTreeMap<u64, CacheKey>,
    now: u64,
    bytes: u64,
    capacity: u64,
}

impl PlainLru {
    fn new(capacity: u64) -> Self {
        let (last_asked, order) = (HashMap::new(), BTreeMap::new());
        Self { last_asked, order, now: 0, bytes: 0, capacity }
    }
}

impl Cache for PlainLru {
    fn ask(&mut self, entry: &Arc<Entry>) -> bool {
        self.now += 1;
        let weight = entry.weight();
        let before = self.last_asked.insert(entry.key.clone(), (self.now, weight));
        self.order.insert(self.now, entry.key.clone());
        if let Some((time, _)) = before {
            self.order.remove(&time);
            return true;
        }
        self.bytes += weight;
        while self.bytes > self.capacity {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.bytes -= self.last_asked.remove(&oldest).map_or(0, |(_, weight)| weight);
        }
        false
    }
}

#[derive(Default)]
struct Ratio {
    requests: (u32, u32),
    bytes: (u64, u64),
}

impl Ratio {
    /// Requests this number of tiles, and after every `every`th one an object of `others`.
    fn of(
        cache: &mut dyn Cache,
        sky: &Sky,
        random: &mut fastrand::Rng,
        requests: usize,
        mut others: impl Iterator<Item = Arc<Entry>>,
        every: usize,
    ) -> Self {
        let mut ratio = Self::default();
        for n in 1..=requests {
            let Some(tile) = sky.pick(random) else { continue };
            let hit = cache.ask(tile);
            ratio.requests.0 += u32::from(hit);
            ratio.requests.1 += 1;
            ratio.bytes.0 += if hit { tile.weight() } else { 0 };
            ratio.bytes.1 += tile.weight();
            if n % every == 0
                && let Some(other) = others.next()
            {
                cache.ask(&other);
            }
        }
        ratio
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let requests = 100.0 * f64::from(self.requests.0) / f64::from(self.requests.1);
        let bytes = 100.0 * self.bytes.0 as f64 / self.bytes.1 as f64;
        write!(f, "{requests:5.1} {bytes:5.1}")
    }
}

fn caches(capacity: u64) -> [(&'static str, Box<dyn Cache>); 2] {
    let tier = MemoryTier::new(capacity, Arc::new(Statistics::default()));
    [("plain LRU", Box::new(PlainLru::new(capacity))), ("memory tier", Box::new(tier))]
}

/// A scan of twice the capacity, one of its objects for each tile.
fn scan(alpha: f64, percent: u64) {
    let sky = Sky::new(alpha);
    let capacity = sky.bytes() * percent / 100;
    for (name, mut cache) in caches(capacity) {
        let mut random = fastrand::Rng::with_seed(2);
        let mut sizes = fastrand::Rng::with_seed(3);
        let mut scanned = Vec::new();
        let mut left = 2 * capacity;
        while left > 0 {
            let once = entry(&format!("once/{}", scanned.len()), tile_size(&mut sizes));
            left = left.saturating_sub(once.weight());
            scanned.push(once);
        }
        let (length, mut scanned) = (scanned.len(), scanned.into_iter());
        let mut phase = |requests, every| {
            Ratio::of(&mut *cache, &sky, &mut random, requests, &mut scanned, every)
        };
        phase(200_000, usize::MAX);
        let before = phase(100_000, usize::MAX);
        let during = phase(length, 1);
        let after = phase(20_000, usize::MAX);
        println!(
            "  {alpha:3.1}  {percent:2} % {:4} MB  {name:11}  {before}  {during}  {after}",
            capacity / 1_000_000
        );
    }
}

/// Large objects requested once, one for each `every` tiles.
fn large(capacity: u64, size: u64, every: usize) {
    let sky = Sky::new(1.0);
    for (name, mut cache) in caches(capacity) {
        let mut random = fastrand::Rng::with_seed(2);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut objects = (0..).map(|n| entry(&format!("large/{n}"), size));
        let mut phase = |requests, every| {
            Ratio::of(&mut *cache, &sky, &mut random, requests, &mut objects, every)
        };
        phase(100_000, usize::MAX);
        let before = phase(50_000, usize::MAX);
        let during = phase(50_000, every);
        println!(
            "  {:4} MiB  {:2} MiB per {every:4} tiles  {name:11}  {before}  {during}",
            capacity / MIB,
            size as u64 / MIB
        );
    }
}

fn main() {
    println!("Tiles answered from the cache, % of requests and of bytes.");
    println!("  Zipf  capacity      cache        before       during scan  after it");
    for alpha in [0.9, 1.0] {
        for percent in [5, 10] {
            scan(alpha, percent);
        }
    }
    println!("  capacity  read once          cache        before       during");
    for capacity in [64, 256, 1024] {
        for (size, every) in [(1, 10), (4, 100), (16, 1000)] {
            large(capacity * MIB, size * MIB, every);
        }
    }
}
