// pm2 start deploy/pm2/ecosystem.config.cjs, after deploy/start.sh setup
const path = require("node:path");

const root = path.resolve(__dirname, "..", "..");

module.exports = {
  apps: [
    {
      name: "auricle",
      cwd: root,
      script: path.join(root, ".venv", "bin", "auricle"),
      args: "serve",
      interpreter: "none",
      // One process: it starts an engine process for each model, and ends them itself.
      instances: 1,
      exec_mode: "fork",
      treekill: false,
      // Longer than AURICLE_SHUTDOWN_TIMEOUT_S, in which running requests may finish.
      kill_timeout: 45000,
      exp_backoff_restart_delay: 500,
      // What is set here wins over the shell that runs pm2.
      env: {
        AURICLE_LOG_FORMAT: "json",
      },
    },
  ],
};
