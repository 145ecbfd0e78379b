"""helpers.boundaries, and what notebook 01 measures with it, against geometry that is known in closed form."""
import numpy as np
import pandas as pd
import pytest
import torch
from test_notebooks_02_04 import functions
from torch import nn

from helpers import boundaries as bd

alignment = functions("01").alignment


def measure(model, points, labels):
    """The table of notebook 01 of one model."""
    of = functions("01", x_test=torch.as_tensor(points), y_test=torch.as_tensor(labels), matrix=range(3))
    return pd.DataFrame(of.measure(model))


class Field(nn.Module):
    """A classifier given by one function of (x, y) for each class."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, points):
        x, y = points.T
        return torch.stack([function(x, y) + 0 * x for function in self.functions], dim=1)


def circle(radius, centre=(0.5, 0.5)):
    return lambda x, y: radius - ((x - centre[0]) ** 2 + (y - centre[1]) ** 2).sqrt()


def zero(x, y):
    return 0 * x


def low(x, y):
    return 0 * x - 10


def nearest_site(*sites):
    return Field(*[lambda x, y, a=a, b=b: -((x - a) ** 2) - (y - b) ** 2 for a, b in sites])


def random_mlp(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        model[0].weight.mul_(5)
        model[0].bias.copy_(-model[0].weight @ torch.tensor([0.5, 0.5]))
    return model.to(dtype)


@pytest.mark.parametrize("radius", [0.1, 0.25, 0.4])
def test_a_circle_has_length_2_pi_r_and_curvature_1_over_r(radius):
    segments = bd.boundary_segments(Field(circle(radius, (0.47, 0.52)), zero, low), (0, 1))
    (loop,) = segments
    np.testing.assert_array_equal(loop[0], loop[-1])
    np.testing.assert_allclose(np.hypot(*(loop - [0.47, 0.52]).T), radius, atol=1e-10)
    assert bd.length(segments) == pytest.approx(2 * np.pi * radius, rel=1e-3)
    assert bd.curvature(segments) == pytest.approx(1 / radius, rel=5e-3)


def test_an_arc_that_leaves_the_square_is_open():
    segments = bd.boundary_segments(Field(circle(0.5, (0, 0)), zero), (1, 0))
    (arc,) = segments
    assert not np.array_equal(arc[0], arc[-1])
    assert bd.length(segments) == pytest.approx(np.pi / 4, rel=1e-4)
    assert bd.curvature(segments) == pytest.approx(2.0, rel=1e-3)


def test_a_line_has_its_length_and_no_curvature():
    # y = 0.2 + x / 2 crosses the square from (0, 0.2) to (1, 0.7).
    segments = bd.boundary_segments(Field(lambda x, y: 3 * (y - 0.2 - x / 2), zero), (0, 1))
    assert bd.length(segments) == pytest.approx(np.hypot(1, 0.5), abs=1e-9)
    assert bd.curvature(segments) == pytest.approx(0, abs=1e-7)


def test_a_square_turns_by_2_pi_in_its_corners():
    square = Field(lambda x, y: 0.25 - torch.maximum((x - 0.503).abs(), (y - 0.502).abs()), zero)
    segments = bd.boundary_segments(square, (0, 1))
    assert bd.length(segments) == pytest.approx(2.0, rel=5e-3)
    assert bd.curvature(segments) == pytest.approx(2 * np.pi / 2.0, rel=0.02)


def test_only_the_part_between_the_two_largest_logits_counts():
    # Bisectors of (0.2, 0.5), (0.8, 0.5), (0.5, 0.9): the first is x = 0.5 up to the circumcentre.
    model = nearest_site((0.2, 0.5), (0.8, 0.5), (0.5, 0.9))
    centre = 0.5, (0.5**2 + 0.9**2 - 0.2**2 - 0.5**2 - 2 * 0.5 * (0.5 - 0.2)) / (2 * (0.9 - 0.5))
    (stem,) = bd.boundary_segments(model, (0, 1))
    np.testing.assert_allclose(stem[:, 0], 0.5, atol=1e-10)
    assert sorted(stem[[0, -1], 1]) == pytest.approx([0.0, centre[1]], abs=1e-6)
    # The bisector of sites 0 and 2 is 0.3 (x - 0.35) + 0.4 (y - 0.7) = 0; it leaves the square at x = 0.
    leaves = 0.0, 0.7 + 0.3 * 0.35 / 0.4
    for pair in [(0, 2), (1, 2)]:
        length = bd.length(bd.boundary_segments(model, pair))
        assert length == pytest.approx(np.hypot(leaves[0] - centre[0], leaves[1] - centre[1]), abs=1e-6)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * np.pi, 5))
def test_a_loop_that_a_third_class_hides_in_part_stays_one_piece(angle):
    def half_plane(x, y):
        return 100 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))

    segments = bd.boundary_segments(Field(circle(0.3), zero, half_plane), (0, 1))
    assert len(segments) == 1
    assert bd.length(segments) == pytest.approx(np.pi * 0.3, rel=2e-3)
    assert bd.curvature(segments) == pytest.approx(1 / 0.3, rel=0.01)


def test_no_boundary_is_length_0_curvature_nan_distance_infinite():
    segments = bd.boundary_segments(Field(circle(0.3), zero, low), (0, 2))
    assert segments == [] and bd.length(segments) == 0
    assert np.isnan(bd.curvature(segments))
    assert np.isinf(bd.distance([[0.5, 0.5]], segments)).all()


def test_distance_to_a_circle():
    points = np.random.default_rng(0).random((200, 2))
    segments = bd.boundary_segments(Field(circle(0.3), zero), (0, 1))
    expected = np.abs(np.hypot(*(points - 0.5).T) - 0.3)
    np.testing.assert_allclose(bd.distance(points, segments), expected, atol=2e-5)


def test_distance_to_a_polyline_reaches_its_ends_and_sides():
    line = [np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.2]]), np.array([[0.9, 0.9], [0.9, 1.0]])]
    points = [[0.4, 0.5], [0.1, 0.2], [0.9, 0.6], [0.7, 0.95]]
    np.testing.assert_allclose(bd.distance(points, line), [0.3, 0.1, 0.3, 0.2])


def test_decision_grid_has_rows_in_y_and_columns_in_x():
    axis, logits = bd.decision_grid(Field(lambda x, y: x - 0.6, zero, low), 51)
    assert logits.shape == (51, 51, 3) and axis[[0, -1]].tolist() == [0, 1]
    assert (logits.argmax(-1)[:, -1] == 0).all() and (logits.argmax(-1)[:, 0] == 1).all()
    np.testing.assert_allclose(logits[3, :, 0], axis - 0.6)


def test_a_relu_networks_measures_do_not_depend_on_the_grid_or_on_float32():
    coarse, fine, double = (
        [bd.boundary_segments(net, pair, bd.decision_grid(net, resolution)) for pair in [(0, 1), (0, 2), (1, 2)]]
        for net, resolution in [(random_mlp(3), 150), (random_mlp(3), 300), (random_mlp(3, torch.float64), 150)]
    )
    assert sum(map(bd.length, coarse)) > 0.5
    for a, b, c in zip(coarse, fine, double, strict=True):
        assert bd.length(a) == pytest.approx(bd.length(b), rel=0.01)
        assert bd.length(a) == bd.length(c)
        if a:
            assert bd.curvature(a) == pytest.approx(bd.curvature(b), rel=0.15, abs=0.1)


def test_a_classifier_that_computes_in_float32_is_measured_too():
    circle32 = Field(lambda x, y: circle(0.3)(x.float(), y.float()), lambda x, y: zero(x.float(), y))
    segments = bd.boundary_segments(lambda points: circle32(points).float(), (0, 1))
    assert bd.curvature(segments) == pytest.approx(1 / 0.3, rel=0.01)


def test_a_function_around_a_network_of_float32_is_measured_too():
    net = random_mlp()
    _, logits = bd.decision_grid(lambda points: 2 * net(points), 5)
    np.testing.assert_allclose(logits, 2 * bd.decision_grid(net, 5)[1], atol=1e-5)
    pieces = bd.boundary_segments(lambda points: 2 * net(points), (0, 1))
    assert bd.length(pieces) == pytest.approx(bd.length(bd.boundary_segments(net, (0, 1))), rel=1e-4)


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 150])
def test_gradient_alignment_of_a_linear_model_is_the_cosine_of_its_angle(degrees):
    radians = np.deg2rad(degrees)
    model = Field(lambda x, y: 4 * (x * np.cos(radians) + y * np.sin(radians)), zero, low)
    points = np.array([[0.1, 0.4], [0.3, 0.6], [0.7, 0.4], [0.9, 0.6], [0.5, 0.9]])
    labels = np.array([0, 0, 1, 1, 2])
    found, nearest = alignment(model, points[labels == 1], points[labels == 0], 1, 0)
    assert found == pytest.approx(abs(np.cos(radians)), abs=1e-12)
    # From each point to the nearest of the other class: 0 and 1 to 2, 2 and 3 to 1.
    steps = np.array([[0.6, 0.0], [0.4, -0.2], [-0.4, 0.2], [-0.6, 0.0]])
    cosines = np.abs(steps @ [np.cos(radians), np.sin(radians)]) / np.linalg.norm(steps, axis=1)
    assert nearest == pytest.approx(cosines.mean(), abs=1e-12)


def test_the_two_readings_of_the_vector_between_classes_differ():
    """Class 1 is above class 0 where they meet, its mean lies to the right."""
    points = np.array([[0.1, 0.4], [0.1, 0.6], [0.9, 0.6], [0.9, 0.8]])
    found, nearest = alignment(Field(lambda x, y: y, zero), points[:1], points[1:], 0, 1)
    towards_mean = (0.6 + 0.6 + 0.8) / 3 - 0.4
    expected = towards_mean / np.hypot(0.9 * 2 / 3 + 0.1 / 3 - 0.1, towards_mean)
    assert found == pytest.approx(expected, abs=1e-12)
    sides = [1, 1, 0.2 / np.hypot(0.8, 0.2), 0.4 / np.hypot(0.8, 0.4)]
    assert nearest == pytest.approx(np.mean(sides), abs=1e-12)


def test_points_without_a_gradient_are_left_out_of_the_alignment():
    points = np.array([[0.2, 0.5], [0.8, 0.5], [0.9, 0.5]])
    flat_left = Field(lambda x, y: torch.relu(x - 0.5), zero)
    assert alignment(flat_left, points[:1], points[1:], 0, 1) == pytest.approx((1, 1))
    assert np.isnan(alignment(Field(zero, low), points[:1], points[1:], 0, 1)).all()
    assert np.isnan(alignment(flat_left, points[:1], points[:1], 0, 1)).all()  # same mean


def test_measure_boundaries_brings_a_row_for_each_pair():
    model = nearest_site((0.2, 0.5), (0.8, 0.5), (0.5, 5.0))
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    points = np.clip(np.array([[0.2, 0.5], [0.8, 0.5], [0.5, 0.9]])[labels] + 0.05 * rng.normal(size=(90, 2)), 0, 1)
    table = measure(model, points, labels)
    assert table[["first", "second"]].values.tolist() == [[0, 1], [0, 2], [1, 2]]
    rows = table.set_index(["first", "second"])
    pair = rows.loc[0, 1]
    gaps = np.abs(points[labels < 2, 0] - 0.5)
    assert pair["length"] == pytest.approx(1) and pair["curvature"] == pytest.approx(0, abs=1e-6)
    assert pair["mean_distance"] == pytest.approx(gaps.mean()) and pair["min_distance"] == pytest.approx(gaps.min())
    assert pair["alignment"] == pytest.approx(1, abs=1e-3) and 0.9 < pair["local_alignment"] < pair["alignment"]
    assert rows.loc[0, 2].length == 0 and np.isinf(rows.loc[0, 2].mean_distance) and np.isnan(rows.loc[0, 2].curvature)


def test_the_model_is_left_as_it_was_found():
    model = random_mlp()
    model[1].eval()
    points, labels = torch.rand(30, 2), torch.arange(30) % 3
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure(model, points, labels)
    assert model.training and not model[1].training
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32 and parameter.requires_grad and parameter.grad is None
        assert torch.equal(parameter, before[name])


def test_bad_input_is_named():
    model = random_mlp()
    with pytest.raises(ValueError, match=r"pair must name two classes in 0\.\.2"):
        bd.boundary_segments(model, (1, 1))
    with pytest.raises(ValueError, match=r"pair must name two classes in 0\.\.2"):
        bd.boundary_segments(model, (1, 3))
    with pytest.raises(ValueError, match="finite"):
        bd.decision_grid(Field(lambda x, y: x / 0, zero))
