//! Python bindings of NEAT: the list of exports. No algorithm lives here.

use pyo3::prelude::*;

mod error;
mod prepare;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
