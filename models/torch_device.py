"""What torch computes with on a device: its build, kernels, threads and switches. For adapters that have loaded it."""


def describe_device(device: str) -> dict[str, str]:
    """Facts that answers may depend on; `device` is torch's word for it, and of a GPU its name is told."""
    import torch  # noqa: PLC0415 - takes seconds, and is needed only where a model is

    told = {
        "torch": str(torch.__version__),  # with its build, +cpu or +cu130, which the metadata may leave out
        "device": device,
        "float32_matmul": torch.get_float32_matmul_precision(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
    }
    if device.startswith("cuda"):
        told |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "cudnn_benchmark": str(torch.backends.cudnn.benchmark).lower(),
        }
    elif device == "cpu":
        told |= {"threads": str(torch.get_num_threads()), "kernels": torch.backends.cpu.get_cpu_capability()}
    return told
