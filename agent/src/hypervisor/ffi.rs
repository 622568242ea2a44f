//! What the `virt` crate does not wrap, or wraps in a way that can end the process: job statistics (it makes
//! a `Vec` of a null pointer where there are none), bulk statistics, the host's processor times, aborting a job,
//! comparing CPUs, events.

use super::domain::{DomainState, JobProgress};
use drover_agent_core::inventory::CpuTimes;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use tokio::sync::watch::Sender;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt_sys as sys;

/// A value of libvirt's typed parameters, numbers widened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Any whole number; negative ones do not occur in what we read.
    Number(u64),
    /// Text.
    Text(String),
}

type Values = BTreeMap<String, Value>;

/// SAFETY: `params` must point to `count` parameters, or `count` must be 0.
unsafe fn read(params: sys::virTypedParameterPtr, count: c_int) -> Values {
    let count = usize::try_from(count).unwrap_or(0);
    let mut values = Values::new();
    for place in 0..count {
        // SAFETY: `place` is below the count that the caller vouches for.
        let param = unsafe { &*params.add(place) };
        // SAFETY: libvirt ends each name with a NUL within its 80 bytes.
        let name = unsafe { CStr::from_ptr(param.field.as_ptr()) }
            .to_string_lossy()
            .into_owned();
        // SAFETY: the union's field is chosen by the type that libvirt stored beside it.
        let value = unsafe {
            match u32::try_from(param.type_).unwrap_or(0) {
                sys::VIR_TYPED_PARAM_INT => u64::try_from(param.value.i).ok().map(Value::Number),
                sys::VIR_TYPED_PARAM_UINT => Some(Value::Number(u64::from(param.value.ui))),
                sys::VIR_TYPED_PARAM_LLONG => u64::try_from(param.value.l).ok().map(Value::Number),
                sys::VIR_TYPED_PARAM_ULLONG => Some(Value::Number(param.value.ul)),
                sys::VIR_TYPED_PARAM_BOOLEAN => Some(Value::Number(u64::from(param.value.b != 0))),
                sys::VIR_TYPED_PARAM_STRING if !param.value.s.is_null() => Some(Value::Text(
                    CStr::from_ptr(param.value.s).to_string_lossy().into_owned(),
                )),
                _ => None,
            }
        };
        if let Some(value) = value {
            values.insert(name, value);
        }
    }
    values
}

pub(super) fn number(values: &Values, name: &str) -> Option<u64> {
    match values.get(name) {
        Some(Value::Number(number)) => Some(*number),
        Some(Value::Text(_)) | None => None,
    }
}

pub(super) fn text<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    match values.get(name) {
        Some(Value::Text(text)) => Some(text),
        Some(Value::Number(_)) | None => None,
    }
}

/// Statistics of every domain in one call; a domain whose monitor is busy reports what is known without it.
pub(super) fn all_statistics(connection: &Connect) -> Result<BTreeMap<Uuid, Values>, Error> {
    let wanted = sys::VIR_DOMAIN_STATS_STATE
        | sys::VIR_DOMAIN_STATS_BALLOON
        | sys::VIR_DOMAIN_STATS_VCPU
        | sys::VIR_DOMAIN_STATS_BLOCK;
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the connection is open while `connection` lives; `records` receives an array owned by us.
    let count = unsafe {
        sys::virConnectGetAllDomainStats(
            connection.as_ptr(),
            wanted,
            &raw mut records,
            sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
        )
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(Error::last_error());
    };
    let mut all = BTreeMap::new();
    for place in 0..count {
        // SAFETY: libvirt gave `count` records, each valid until the list is freed below.
        let record = unsafe { &**records.add(place) };
        let mut uuid = [0_u8; 16];
        // SAFETY: the record's domain is valid; libvirt writes VIR_UUID_BUFLEN (16) bytes.
        if unsafe { sys::virDomainGetUUID(record.dom, uuid.as_mut_ptr()) } == 0 {
            // SAFETY: the record's parameters are as many as it says.
            all.insert(Uuid::from_bytes(uuid), unsafe {
                read(record.params, record.nparams)
            });
        }
    }
    if !records.is_null() {
        // SAFETY: the list came from virConnectGetAllDomainStats and is not used after this.
        unsafe { sys::virDomainStatsRecordListFree(records) };
    }
    Ok(all)
}

/// What all processors of the host did since it booted; none where libvirt does not count all of it.
pub(super) fn cpu_times(connection: &Connect) -> Result<Option<CpuTimes>, Error> {
    let all = sys::VIR_NODE_CPU_STATS_ALL_CPUS;
    let mut count: c_int = 0;
    // SAFETY: the connection is open while `connection` lives; without room libvirt only says how much it needs.
    let answer =
        unsafe { sys::virNodeGetCPUStats(connection.as_ptr(), all, ptr::null_mut(), &raw mut count, 0) };
    if answer < 0 {
        let error = Error::last_error();
        return if error.code().is(ErrorNumber::NoSupport) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    let empty = sys::virNodeCPUStats {
        field: [0; sys::VIR_NODE_CPU_STATS_FIELD_LENGTH as usize],
        value: 0,
    };
    let mut counters = vec![empty; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for `count` counters, and libvirt writes no more than that.
    let answer = unsafe {
        sys::virNodeGetCPUStats(connection.as_ptr(), all, counters.as_mut_ptr(), &raw mut count, 0)
    };
    if answer < 0 {
        return Err(Error::last_error());
    }
    Ok(times_of(&counters))
}

fn times_of(counters: &[sys::virNodeCPUStats]) -> Option<CpuTimes> {
    let value = |name: &CStr| {
        let named = counters.iter().find(|counter| {
            // SAFETY: libvirt ends each name with a NUL within its 80 bytes; one not written to is empty.
            let field = unsafe { CStr::from_ptr(counter.field.as_ptr()) };
            field == name
        });
        named.map(|counter| counter.value)
    };
    Some(CpuTimes {
        user_ns: value(sys::VIR_NODE_CPU_STATS_USER)?,
        kernel_ns: value(sys::VIR_NODE_CPU_STATS_KERNEL)?,
        idle_ns: value(sys::VIR_NODE_CPU_STATS_IDLE)?,
        iowait_ns: value(sys::VIR_NODE_CPU_STATS_IOWAIT)?,
    })
}

/// State and reason.
pub(super) fn state(domain: &Domain) -> Result<DomainState, Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain is valid while `domain` lives; both integers outlive the call.
    if unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) } < 0 {
        return Err(Error::last_error());
    }
    Ok(DomainState::from_libvirt(state, reason))
}

/// Statistics of the running job, or of the last one that ended.
pub(super) fn job(domain: &Domain, finished: bool) -> Result<Option<JobProgress>, Error> {
    let flags = if finished {
        sys::VIR_DOMAIN_JOB_STATS_COMPLETED | sys::VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    } else {
        0
    };
    let (mut kind, mut count): (c_int, c_int) = (0, 0);
    let mut params: sys::virTypedParameterPtr = ptr::null_mut();
    // SAFETY: the domain is valid while `domain` lives; libvirt allocates the parameters, freed below.
    let answer = unsafe {
        sys::virDomainGetJobStats(
            domain.as_ptr(),
            &raw mut kind,
            &raw mut params,
            &raw mut count,
            flags,
        )
    };
    if answer < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt set `params` and `count` together.
    let values = unsafe { read(params, count) };
    if !params.is_null() {
        // SAFETY: allocated by virDomainGetJobStats, not used after this.
        unsafe { sys::virTypedParamsFree(params, count) };
    }
    if u32::try_from(kind) == Ok(sys::VIR_DOMAIN_JOB_NONE) {
        return Ok(None);
    }
    let get = |name| number(&values, name).unwrap_or(0);
    Ok(Some(JobProgress {
        elapsed_ms: get("time_elapsed"),
        total_bytes: get("data_total"),
        processed_bytes: get("data_processed"),
        remaining_bytes: get("data_remaining"),
        dirty_bytes_per_second: get("memory_dirty_rate").saturating_mul(get("memory_page_size").max(4096)),
        downtime_ms: get("downtime"),
    }))
}

/// Asks for the end of the running job.
pub(super) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is valid while `domain` lives.
    if unsafe { sys::virDomainAbortJob(domain.as_ptr()) } < 0 {
        return Err(Error::last_error());
    }
    Ok(())
}

/// Whether the hypervisor can give a guest this CPU.
pub(super) fn can_run_cpu(
    connection: &Connect,
    arch: &str,
    machine: &str,
    kind: &str,
    cpu_xml: &str,
) -> Result<bool, Error> {
    let (arch, machine) = (CString::new(arch)?, CString::new(machine)?);
    let (kind, cpu_xml) = (CString::new(kind)?, CString::new(cpu_xml)?);
    // SAFETY: the connection is open while `connection` lives; the strings outlive the call.
    let answer = unsafe {
        sys::virConnectCompareHypervisorCPU(
            connection.as_ptr(),
            ptr::null::<c_char>(),
            arch.as_ptr(),
            machine.as_ptr(),
            kind.as_ptr(),
            cpu_xml.as_ptr(),
            0,
        )
    };
    if answer == sys::VIR_CPU_COMPARE_ERROR {
        return Err(Error::last_error());
    }
    Ok(answer == sys::VIR_CPU_COMPARE_IDENTICAL || answer == sys::VIR_CPU_COMPARE_SUPERSET)
}

/// SAFETY: `opaque` must be a boxed `Sender<u64>` that lives until `drop_sender` is called with it.
unsafe fn raise(opaque: *mut c_void) {
    // SAFETY: the caller vouches for it; the sender is only borrowed.
    let changed = unsafe { &*opaque.cast::<Sender<u64>>() };
    changed.send_modify(|count| *count = count.wrapping_add(1));
}

unsafe extern "C" fn life_cycle(
    _connection: sys::virConnectPtr,
    _domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: registered with a boxed sender below.
    unsafe { raise(opaque) };
}

unsafe extern "C" fn drop_sender(opaque: *mut c_void) {
    // SAFETY: libvirt calls this once, with the pointer that was leaked when registering.
    drop(unsafe { Box::from_raw(opaque.cast::<Sender<u64>>()) });
}

/// Raises `changed` at each life-cycle event of any domain.
pub(super) fn watch_life_cycle(connection: &Connect, changed: Sender<u64>) -> Result<c_int, Error> {
    type LifeCycle = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void);
    type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
    let opaque = Box::into_raw(Box::new(changed)).cast::<c_void>();
    // SAFETY: libvirt's VIR_DOMAIN_EVENT_CALLBACK cast: it calls the function with the arguments that belong
    // to the event id, here those of `LifeCycle`.
    let callback = unsafe { std::mem::transmute::<LifeCycle, Generic>(life_cycle) };
    // SAFETY: the connection is open; libvirt owns `opaque` until it calls `drop_sender`.
    let id = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            ptr::null_mut(),
            c_int::try_from(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE).expect("it is 0"),
            Some(callback),
            opaque,
            Some(drop_sender),
        )
    };
    if id < 0 {
        let error = Error::last_error();
        // SAFETY: a refused registration leaves `opaque` to us.
        unsafe { drop_sender(opaque) };
        return Err(error);
    }
    Ok(id)
}

/// Ends what [`watch_life_cycle`] began; without it the registration would keep a dead connection for ever.
pub(super) fn unwatch(connection: &Connect, registration: c_int) {
    // SAFETY: the connection is open or dead, not freed, while `connection` lives. A dead one still forgets the
    // registration on this side, which is what matters; its error says only that the server was not told.
    unsafe { sys::virConnectDomainEventDeregisterAny(connection.as_ptr(), registration) };
}
