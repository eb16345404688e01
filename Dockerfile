# Serves one ONNX file of Budwood's (`budwood export RUN --to onnx --out model.onnx`) on onnxruntime: no torch inside.
#
#     docker build --tag budwood-serve .
#     docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:8000:8000 --env BUDWOOD_TOKEN \
#         --volume "$PWD/model.onnx:/model.onnx:ro" budwood-serve
#
# The token comes from the environment and is in no layer; without one, the log shows a random one. See docs/deploy.md.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY docs/serve-requirements.txt /tmp/requirements.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt \
    && pip install --no-cache-dir --no-deps /tmp/wheels/*.whl \
    && rm -r /tmp/requirements.txt /tmp/wheels \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin budwood
USER 10001
ENV PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["budwood", "serve", "/model.onnx", "--host", "0.0.0.0", "--port", "8000"]
