# The dashboard; docker-compose.yaml says where it finds the control plane.
# Build it from its own folder: docker build -f deploy/ui.Dockerfile -t waystation-ui ui_service

FROM node:22-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build && cp -rL dist/current /app

FROM node:22-bookworm-slim
COPY --from=build /app /app
USER node
WORKDIR /app
# in a container loopback is nobody's; compose publishes the door on the host's loopback only
ENV NODE_ENV=production HOSTNAME=0.0.0.0 PORT=3000
CMD ["node", "serve.mjs"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:3000/health').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
