//! Adapters and the device that is opened on one of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thinfer_shaders::Kernel;

use crate::device::{DeviceClass, DeviceInfo};
use crate::error::{Error, Result};
use crate::gpu::pipeline::Cache;
use crate::gpu::software::storage::Storage;
use crate::lock::lock;

/// An open device; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gpu(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: DeviceInfo,
    limits: wgpu::Limits,
    storage: Storage,
    halves: bool,
    pipelines: Mutex<Cache>,
    fault: Fault,
}

/// The first fault that the device reported outside of a call; after one nothing it computes can be trusted.
#[derive(Clone, Debug, Default)]
struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    fn record(&self, why: String) {
        lock(&self.0).get_or_insert(why);
    }

    fn get(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

/// An error and what caused it, on one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut lines: Vec<String> = Vec::new();
    for line in causes.flat_map(|e| e.to_string().lines().map(|l| l.trim().to_string()).collect::<Vec<_>>()) {
        // Some errors print their causes themselves.
        if !line.is_empty() && line != "Caused by:" && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join(": ")
}

/// All adapters that can compute, the best one first; none in a browser, which must be waited for to name one.
pub(crate) fn list() -> Vec<DeviceInfo> {
    if cfg!(target_family = "wasm") {
        return Vec::new();
    }
    pollster::block_on(adapters()).iter().map(describe).collect()
}

/// Usable adapters, the best class first, in the system's order within a class.
async fn adapters() -> Vec<wgpu::Adapter> {
    if wgpu::Instance::enabled_backend_features().is_empty() {
        // Instance::new would panic.
        return Vec::new();
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // No validation layers in debug builds either: they print, and wgpu validates by itself.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    if adapters.is_empty() {
        // Browsers do not enumerate.
        let options = wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
        adapters.extend(instance.request_adapter(&options).await);
    }
    adapters.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|a| match describe(a).class {
        DeviceClass::Discrete => 0,
        DeviceClass::Integrated => 1,
        DeviceClass::Other => 2,
        DeviceClass::Software | DeviceClass::Cpu => 3,
    });
    adapters
}

fn describe(adapter: &wgpu::Adapter) -> DeviceInfo {
    let info = adapter.get_info();
    let backend = match info.backend {
        wgpu::Backend::BrowserWebGpu => "webgpu",
        other => other.to_str(),
    };
    DeviceInfo {
        name: if info.name.is_empty() { "a GPU without a name".into() } else { info.name },
        backend: backend.into(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        class: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceClass::Discrete,
            wgpu::DeviceType::IntegratedGpu => DeviceClass::Integrated,
            wgpu::DeviceType::Cpu => DeviceClass::Software,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => DeviceClass::Other,
        },
    }
}

impl Gpu {
    /// As [`Gpu::open_async`], blocking.
    #[cfg(test)]
    pub(crate) fn open() -> Result<Self> {
        Self::open_with(None)
    }

    /// The same with values and weights as `storage` says; [`Error::NoDevice`] where the adapter cannot.
    #[cfg(test)]
    pub(crate) fn open_with(storage: Option<Storage>) -> Result<Self> {
        pollster::block_on(Self::open_best(storage))
    }

    /// Opens the best adapter.
    ///
    /// # Errors
    /// [`Error::NoDevice`] without one, [`Error::Gpu`] where it refuses to be opened.
    pub(crate) async fn open_async() -> Result<Self> {
        Self::open_best(None).await
    }

    async fn open_best(wanted: Option<Storage>) -> Result<Self> {
        let Some(adapter) = adapters().await.into_iter().next() else {
            let why = "the system lists no Vulkan, Metal, DX12 or WebGPU adapter that can compute".into();
            return Err(Error::NoDevice { wanted: "GPU".into(), why });
        };
        let info = describe(&adapter);
        let limits = adapter.limits();
        let storage = Storage::choose(&adapter, &info, wanted)?;
        let halves = adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("thinfer"),
            required_features: (adapter.features() & wgpu::Features::TIMESTAMP_QUERY) | storage.features(),
            // The defaults are what every phone has.
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|e| Error::Gpu { device: info.name.clone(), why: told(&e) })?;
        let fault = Fault::default();
        // Without a handler wgpu panics.
        let (on_error, on_loss) = (fault.clone(), fault.clone());
        device.on_uncaptured_error(Arc::new(move |e| on_error.record(told(&e))));
        device.set_device_lost_callback(move |reason, why| {
            on_loss.record(match reason {
                wgpu::DeviceLostReason::Destroyed => "the device was destroyed".into(),
                _ => format!("the device was lost: {why}"),
            });
        });
        Ok(Self(Arc::new(Inner { device, queue, info, limits, storage, halves, pipelines: Mutex::default(), fault })))
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.0.info
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub(super) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    pub(super) fn limits(&self) -> &wgpu::Limits {
        &self.0.limits
    }

    /// Whether the adapter is a software renderer, which runs on the CPU.
    pub(super) fn is_software(&self) -> bool {
        self.0.info.class == DeviceClass::Software
    }

    /// Whether values and weights are kept in buffers or in textures.
    pub(super) fn storage(&self) -> Storage {
        self.0.storage
    }

    /// Whether kernels can read f16.
    pub(crate) fn halves(&self) -> bool {
        self.0.halves
    }

    /// The variants of `kernel` that take values and weights as this device keeps them.
    pub(super) fn variants(&self, kernel: &str) -> impl Iterator<Item = &'static Kernel> {
        let textures = self.storage() == Storage::Textures;
        thinfer_shaders::variants(kernel).filter(move |k| k.textures() == textures)
    }

    /// Whether kernels are compiled at their first run, by a compiler that takes as long as many runs.
    pub(crate) fn compiles_slowly(&self) -> bool {
        self.storage() == Storage::Textures
    }

    /// What identifies the kernels that this device can choose from.
    pub(crate) fn kernels(&self) -> String {
        let hash = thinfer_shaders::KERNELS.iter().fold(0u64, |h, k| h.rotate_left(5) ^ k.hash);
        format!("{:?} {hash:016x}", self.storage()).to_lowercase()
    }

    /// Cores of a software adapter.
    pub(super) fn cores(&self) -> u64 {
        std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
    }

    pub(super) fn pipelines(&self) -> &Mutex<Cache> {
        &self.0.pipelines
    }

    /// # Errors
    /// [`Error::Gpu`] once the device has reported a fault.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.fault.get().map_or(Ok(()), |why| Err(self.error(why)))
    }

    /// Does `work`, whose faults on this thread are its own and no other session's.
    ///
    /// # Errors
    /// [`Error::Gpu`] with the first of them.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        const FILTERS: [wgpu::ErrorFilter; 3] =
            [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let scopes = FILTERS.map(|filter| self.device().push_error_scope(filter));
        let done = work();
        // Scopes are a stack: the last one is popped first.
        let faults: Vec<_> = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
        faults.first().map_or(Ok(done), |e| Err(self.caused(e)))
    }

    pub(super) fn error(&self, why: impl Into<String>) -> Error {
        Error::Gpu { device: self.0.info.name.clone(), why: why.into() }
    }

    /// An [`Error::Gpu`] that says what wgpu said.
    pub(super) fn caused(&self, by: &dyn std::error::Error) -> Error {
        self.error(told(by))
    }

    /// # Errors
    /// [`Error::Gpu`] in a browser, where results only come once the page's code has returned.
    pub(super) fn check_may_block(&self) -> Result<()> {
        let why = "a page cannot wait for its GPU: Session::run_async can, and sessions cannot be timed";
        if cfg!(target_family = "wasm") { Err(self.error(why)) } else { Ok(()) }
    }

    /// Polls the device; `false` where a wait timed out.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the device is gone.
    pub(super) fn poll(&self, how: wgpu::PollType) -> Result<bool> {
        self.driven(|| self.device().poll(how))
    }

    /// Runs `poll`. wgpu panics where a driver loses its device during a wait: that becomes an error here, after its message
    /// was printed, unless the program is built to abort on panics.
    fn driven(&self, poll: impl FnOnce() -> Result<wgpu::PollStatus, wgpu::PollError>) -> Result<bool> {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(wgpu::PollError::Timeout)) => Ok(false),
            Ok(Err(e)) => Err(self.caused(&e)),
            Err(_) => {
                self.0.fault.record("the device was lost".into());
                // The device-lost handler may have recorded the cause already.
                self.check().map(|()| false)
            }
        }
    }

    /// Blocks until everything that was submitted is done, callbacks included, or until `patience` is over.
    ///
    /// # Errors
    /// [`Error::Gpu`], also for what takes longer.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Result<()> {
        self.check_may_block()?;
        match self.poll(wgpu::PollType::Wait { submission_index: None, timeout: patience })? {
            true => self.check(),
            false => Err(self.too_slow(patience)),
        }
    }

    /// The error of a run that exceeded its timeout.
    pub(super) fn too_slow(&self, patience: Option<Duration>) -> Error {
        self.error(format!("a run took longer than {:?}", patience.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_can_be_shared() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<Gpu>();
    }

    #[test]
    fn what_is_listed_can_be_opened() {
        let listed = list();
        match Gpu::open() {
            Ok(gpu) => assert_eq!(Some(gpu.info()), listed.first()),
            Err(e) => assert!(listed.is_empty() && matches!(e, Error::NoDevice { .. }), "{e}"),
        }
    }

    #[test]
    fn causes_stand_on_one_line_and_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("it failed\n\nCaused by:\n  no room")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("no room")]
        struct Inner;
        assert_eq!(told(&Outer(Inner)), "it failed: no room");
    }

    #[test]
    fn a_device_that_is_lost_while_somebody_waits_is_an_error() {
        let Ok(gpu) = Gpu::open() else { return };
        assert!(gpu.driven(|| Err(wgpu::PollError::Timeout)).is_ok_and(|in_time| !in_time));
        for poll in [|| panic!("as wgpu does it"), || Ok(wgpu::PollStatus::QueueEmpty)] {
            let _ = gpu.driven(poll);
            assert!(gpu.check().is_err_and(|e| e.to_string().contains("the device was lost")));
        }
    }

    #[test]
    fn a_fault_is_reported_by_the_next_call() {
        let Ok(gpu) = Gpu::open() else { return };
        gpu.check().unwrap();
        // A buffer that may be mapped for reading cannot be a uniform.
        let _ = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: false,
        });
        assert!(matches!(gpu.check(), Err(Error::Gpu { .. })));
    }
}
