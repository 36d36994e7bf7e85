"""Training: one loop, one file a stage (`engine/stage.py` says what a stage is, `registry.py` lists them).

    one CPU      mien train x-portrait/motion --data avatars --vae runs/vae --out runs/motion --joint --time-limit 9m
    two cores    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 \
                 -m mien train x-portrait/motion ... --average-every 8
    one GPU      mien train x-portrait/motion --data cast.safetensors --workers 14 ...
    one node     accelerate launch --multi_gpu --num_processes 8 --num_machines 1 --mixed_precision no \
                 -m mien train x-portrait/motion --size full --backbone sd15 ...
    two nodes    on both, with --machine_rank 0 and 1, the run's folder shared:
                 accelerate launch --multi_gpu --num_processes 16 --num_machines 2 --machine_rank 0 \
                 --main_process_ip HOST --main_process_port 29500 --mixed_precision no -m mien train ...

The precision is the loop's own (`--precision`), hence accelerate's is "no". The same command goes on where the run
stopped. Everything else, stage by stage: docs/train.md.
"""
