"""The parts of KubeRay's custom resources that our manifests use, as JSON schemas.

Written by the types of KubeRay's API `ray.io/v1` (`RayClusterSpec`, `RayJobSpec`): the names, kinds
and choices of the fields. A field that is not here is refused, as the API server prunes it.
"""

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
# Kubernetes' own ints are of 32 bits.
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
QUANTITIES: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
    },
}


def of(required: tuple[str, ...] = (), **fields: Schema) -> Schema:
    """Return the schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


CONTAINER = of(
    ("name", "image"),
    name=TEXT,
    image=TEXT,
    env=many(of(("name",), name=TEXT, value=TEXT)),
    resources=of((), requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=many(of(("name", "mountPath"), name=TEXT, mountPath=TEXT, readOnly=FLAG)),
)
VOLUME = of(
    ("name",),
    name=TEXT,
    configMap=of(("name",), name=TEXT, optional=FLAG),
    persistentVolumeClaim=of(("claimName",), claimName=TEXT, readOnly=FLAG),
)
TEMPLATE = of(
    ("spec",),
    spec=of(
        ("containers",),
        containers=many(CONTAINER) | {"minItems": 1},
        nodeSelector=TEXTS,
        securityContext=of((), fsGroup=COUNT),
        terminationGracePeriodSeconds=COUNT,
        volumes=many(VOLUME),
    ),
)
GROUP: Schema = {
    "labels": TEXTS,
    "resources": TEXTS,
    "rayStartParams": TEXTS,
    "template": TEMPLATE,
}
WORKERS = of(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    idleTimeoutSeconds=COUNT,
    **GROUP,
)
CLUSTER = of(
    ("headGroupSpec",),
    rayVersion=TEXT,
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=of(
        (), version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=COUNT, upscalingMode=TEXT
    ),
    authOptions=of((), mode={"enum": ["disabled", "token"]}),
    headGroupSpec=of(("rayStartParams", "template"), **GROUP),
    workerGroupSpecs=many(WORKERS),
)
JOB = of(
    (),
    entrypoint=TEXT,
    clusterSelector=TEXTS,
    rayClusterSpec=CLUSTER,
    shutdownAfterJobFinishes=FLAG,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    ttlSecondsAfterFinished=COUNT,
)


def resource(kind: str, spec: Schema) -> Schema:
    return of(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=of(("name",), name=TEXT, namespace=TEXT, labels=TEXTS),
        spec=spec,
    )


SCHEMAS = {"RayCluster": resource("RayCluster", CLUSTER), "RayJob": resource("RayJob", JOB)}
