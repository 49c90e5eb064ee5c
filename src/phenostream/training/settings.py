"""How a network is fitted: the part ``train`` of a recipe."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What decides how fast or where a fit runs, but not one number of it: free to change between a stop and its resumption.
FREE = frozenset({"workers", "log_every", "checkpoint_minutes", "tensorboard"})


class FitSettings(BaseModel):
    """Everything about a fit that is not the task's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(20, ge=1, description="passes over the task's examples")
    batch_size: int | Literal["auto"] = Field(
        16, description="examples a step, over all devices together; auto: as many as the memory holds"
    )
    batch_limit: int = Field(4096, ge=1, description="the most that `batch_size: auto` tries a device")

    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd is with Nesterov momentum")
    momentum: float = Field(0.9, gt=0, lt=1, description="of sgd; adamw has none")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate of the schedule")
    weight_decay: float = Field(1e-2, ge=0, description="of weights; biases and norms are spared")
    schedule: Literal["cosine", "one-cycle", "constant"] = Field("cosine", description="learning rate over the steps")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps in which the learning rate rises")
    final: float = Field(0.01, ge=0, le=1, description="learning rate at the end, as a share of the highest (cosine)")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of products; auto: bf16 where the GPU has it, else fp32"
    )
    channels_last: bool = Field(True, description="keep images channels-last in memory, quicker in most convolutions")
    deterministic: bool = Field(False, description="only algorithms that repeat bit for bit on a GPU (slower)")
    sync_batchnorm: bool = Field(True, description="batch statistics over all GPUs and not over each")

    ema: float = Field(0.0, ge=0, lt=1, description="decay of the running mean of the weights; 0 keeps none")
    ema_ramp: bool = Field(True, description="let the decay rise as (1 + n) / (10 + n) first, for short fits")

    validate_every: int = Field(1, ge=0, description="epochs between validations; 0 validates at the end only")
    monitor: str = Field("", description="validation metric that chooses the best weights; empty: the last are taken")
    mode: Literal["max", "min"] = Field("max", description="whether more or less of the metric is better")
    min_delta: float = Field(0.0, ge=0, description="what counts as better at all")
    patience: int = Field(0, ge=0, description="validations without betterment after which the fit ends; 0: never")

    workers: int = Field(0, ge=0, le=256, description="processes that make batches ahead; 0: in between, or by threads")
    log_every: int = Field(20, ge=1, description="steps between readings of the loss, and chances of a checkpoint")
    checkpoint_minutes: float = Field(5.0, ge=0, description="between checkpoints; 0: at every reading of the loss")
    tensorboard: bool = Field(True, description="write event files for TensorBoard beside the CSV")

    @model_validator(mode="after")
    def batch_size_is_positive(self) -> Self:
        """A number of examples is at least one."""
        if self.batch_size != "auto" and self.batch_size < 1:
            raise ValueError("batch_size must be at least 1, or auto")
        return self

    @model_validator(mode="after")
    def patience_needs_a_metric(self) -> Self:
        """Early stopping watches something."""
        if self.patience and not self.monitor:
            raise ValueError("patience needs `monitor`, the validation metric that it watches")
        return self

    def deciding(self) -> dict[str, object]:
        """The settings that decide the numbers, as JSON values: a fit resumes under these and no others."""
        return self.model_dump(mode="json", exclude=set(FREE))
