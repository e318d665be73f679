//! Benchmark for matching alone: measures how long it takes to match a host, and how much it allocates, for
//! companies of different sizes. Nothing is read or written.
//!
//! `cargo bench --bench resolve`

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use hostmatch::event::{CompanyId, Host, HostId, StaffId};
use hostmatch::matching::{Confidence, Directory, Mapping, MappingRef, MappingSource, Resolver, Staff};
use hostmatch::telemetry::traces::{self, Parent, Span, SpanKind};

/// Counts allocations.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const COMPANY: CompanyId = CompanyId(7);
const HOST: HostId = HostId(1_007_001);
const SIZES: [i64; 4] = [10, 100, 1_000, 10_000];

fn main() {
    divan::main();
}

fn staff(members: i64) -> Vec<Staff> {
    let member = |n| Staff {
        id: StaffId::Integer(n),
        name: format!("Frida Sommer-{n}"),
        email: Some(format!("member{n}@salon.example")),
    };
    (1..=members).map(member).collect()
}

/// Returns a company and the default resolver.
fn company(members: i64) -> (Directory, Resolver) {
    let mut directory = Directory::default();
    directory.add_roster(COMPANY, staff(members));
    (directory, Resolver::new(80))
}

fn host(name: &str, email: &str) -> Host {
    Host { id: Some(HOST), name: Some(name.into()), email: Some(email.into()), ..Host::default() }
}

fn resolve(bencher: Bencher<'_, '_>, host: &Host, directory: &Directory, resolver: &Resolver) {
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| resolver.resolve(black_box(host), COMPANY, black_box(directory)));
}

/// Measures the spans of an event if no collector is configured: a request, a publish, and the steps of a
/// batch.
#[divan::bench]
fn spans_that_are_off(bencher: Bencher<'_, '_>) {
    assert!(!traces::is_enabled());
    bencher.bench(|| {
        let request = Span::begin(Parent::None, SpanKind::Server, "request", []);
        let publish = Span::begin(Parent::Current, SpanKind::Producer, "publish", []);
        let steps = ["decode", "load", "plan", "commit", "settle"].map(|step| Span::step(black_box(step)));
        let _within = request.enter();
        black_box((request.is_recording(), publish.origin(), steps));
    });
}

/// The host has a mapping.
#[divan::bench(args = SIZES)]
fn known(bencher: Bencher<'_, '_>, members: i64) {
    let (mut directory, resolver) = company(members);
    directory.add_mapping(Mapping {
        row: MappingRef::Row(1),
        made_for: COMPANY,
        company: COMPANY,
        host: HOST,
        staff: StaffId::Integer(members),
        source: MappingSource::AutoEmail.into(),
        confidence: Confidence(95),
        is_active: true,
        staff_is_valid: true,
        switched_off_by_person: false,
    });
    resolve(bencher, &host("Anybody", "anybody@elsewhere.example"), &directory, &resolver);
}

/// The host is found by e-mail.
#[divan::bench(args = SIZES)]
fn by_email(bencher: Bencher<'_, '_>, members: i64) {
    let (directory, resolver) = company(members);
    let email = format!("member{members}@salon.example");
    resolve(bencher, &host("Anybody", &email), &directory, &resolver);
}

/// The host has the same name as a member of staff.
#[divan::bench(args = SIZES)]
fn by_name(bencher: Bencher<'_, '_>, members: i64) {
    let (directory, resolver) = company(members);
    let name = format!("Frida Sommer-{members}");
    resolve(bencher, &host(&name, "anybody@elsewhere.example"), &directory, &resolver);
}

/// The host is unknown.
#[divan::bench(args = SIZES)]
fn nobody(bencher: Bencher<'_, '_>, members: i64) {
    let (directory, resolver) = company(members);
    resolve(bencher, &host("Nobody Known", "anybody@elsewhere.example"), &directory, &resolver);
}

/// Builds the index of a company, which a worker does once for a batch with an unknown host.
#[divan::bench(args = SIZES)]
fn index(bencher: Bencher<'_, '_>, members: i64) {
    bencher.with_inputs(|| staff(members)).bench_values(|staff| {
        let mut directory = Directory::default();
        directory.add_roster(COMPANY, staff);
        directory
    });
}
