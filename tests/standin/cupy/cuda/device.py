"""cupy.cuda.device"""

from .._devices import Device as Device


def get_compute_capability() -> str:
    return Device().compute_capability


def get_cublas_handle() -> int:
    return Device().cublas_handle


def get_device_id() -> int:
    return Device().id
