# Everything that a site sets, read by every job. Lines of your site replace the defaults below.

# Software: the project's virtual environment. A site may load modules here first, for example
#   module load cuda/12.8
source "$PROJECT/.venv/bin/activate"

# Network: name the interface only if the nodes have several and the wrong one is taken.
#   export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
