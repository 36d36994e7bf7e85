# The web UI of Mien in a container.
#
#   docker build -t mien .                                                                  processor
#   docker build -t mien:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .             NVIDIA card
#   docker run --rm -p 127.0.0.1:7860:7860 mien                                             then open http://127.0.0.1:7860
#   docker run --rm --gpus all -p 127.0.0.1:7860:7860 mien:cuda
#   docker run --rm -v "$PWD:/data" mien animate -s /data/portrait.jpg -d /data/driver.mp4 -o /data/out.mp4
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY docs/responsible-use.md docs/
COPY src src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm
# An index of torch's builds: for processors, or PyPI, whose torch for Linux is the one for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /wheels/
# torch first and alone, so that its long download is not repeated when something else changes
RUN python -m pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' /wheels/constraints.txt)"
COPY --from=build /wheels/*.whl /wheels/
RUN python -m pip install --no-cache-dir -c /wheels/constraints.txt "$(echo /wheels/mien-*.whl)[web]"
RUN useradd --create-home --uid 1000 mien
USER 1000
WORKDIR /home/mien
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=5)"]
ENTRYPOINT ["mien"]
# The container's own port has to be open to be published; who may reach it says `docker run -p`. It has no accounts.
CMD ["serve", "--host", "0.0.0.0"]
