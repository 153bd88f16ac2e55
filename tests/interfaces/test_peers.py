"""scikit-learn's tests of its linear models that take a class or an instance, pointed at ours."""

from __future__ import annotations

import pytest
from scipy.sparse import csr_array, csr_matrix
from sklearn.exceptions import DataConversionWarning

from descend import DescendError, LinearClassifier, LinearRegressor

peers = pytest.importorskip("sklearn.linear_model.tests.test_common")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "model", [LinearRegressor(), LinearRegressor(optimizer="lbfgs"), LinearClassifier(alpha=1e-3)], ids=str
)
def test_balance_property(model, weighted):
    peers.test_balance_property(model, weighted, 42)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifier_coef_shape(n_classes):
    peers.test_linear_model_classifier_coef_shape(LinearClassifier, {}, n_classes)


def test_regressor_coef_shape():
    peers.test_linear_model_regressor_coef_shape(LinearRegressor, 1)
    with pytest.warns(DataConversionWarning):  # a column is taken for a vector, and said to be
        peers.test_linear_model_regressor_coef_shape(LinearRegressor, 2)


@pytest.mark.parametrize("container", [csr_matrix, csr_array])
def test_same_dense_and_sparse(container):
    peers.test_model_pipeline_same_dense_and_sparse(LinearRegressor, {}, container)
    with pytest.raises(DescendError, match="at least 2 classes"):  # its labels are all 1
        peers.test_model_pipeline_same_dense_and_sparse(LinearClassifier, {}, container)
